from __future__ import annotations

from typing import Any

from demo.edge_agent import reported_properties

DESIRED: dict[str, Any] = {
    "$version": 7,
    "schemaVersion": "1.1",
    "systemModules": {
        "edgeAgent": {"type": "docker", "settings": {"image": "mcr.example/edge-agent:1.5"}},
        "edgeHub": {"type": "docker", "settings": {"image": "mcr.example/edge-hub:1.5"}},
    },
    "modules": {
        "engine": {"type": "docker", "status": "running", "settings": {"image": "localhost:5000/app:2"}},
        "tools": {"type": "docker", "status": "running", "settings": {"image": "localhost:5000/tool:1"}},
    },
}


def test_a_manifest_whose_images_are_all_there_runs() -> None:
    reported = reported_properties(DESIRED, lambda image: image.startswith("localhost:5000/"))

    assert reported["lastDesiredVersion"] == 7
    assert reported["lastDesiredStatus"] == {"code": 200}
    assert {name: module["runtimeStatus"] for name, module in reported["modules"].items()} == {
        "engine": "running",
        "tools": "running",
    }
    assert reported["modules"]["engine"]["settings"]["image"] == "localhost:5000/app:2"
    assert set(reported["systemModules"]) == {"edgeAgent", "edgeHub"}


def test_a_missing_image_is_reported_by_its_module() -> None:
    reported = reported_properties(DESIRED, lambda image: "tool" not in image)

    assert reported["lastDesiredStatus"] == {"code": 500, "description": "cannot pull: tools"}
    assert reported["modules"]["tools"]["runtimeStatus"] == "backoff"
    assert "localhost:5000/tool:1" in reported["modules"]["tools"]["statusDescription"]
