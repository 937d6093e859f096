"""The deployment snippet is what the cloud itself would take, and treats both modules as the docs say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planning.manifest import module_images, modules_of, resolve
from planning.release import new_content

ROOT = Path(__file__).parents[3]
MODULE = ROOT / "edge_module"
VALUES = {"MODULES.imagereconstruction": "fleet.example/imagereconstruction:0.1.0", "REGISTRY_IMAGE": "registry:2.8.3"}
MIB = 1024 * 1024


def manifest() -> dict[str, Any]:
    return resolve(json.loads((MODULE / "deployment.snippet.json").read_text()), VALUES)


def options(module: str) -> dict[str, Any]:
    settings = modules_of(manifest())[module]["settings"]
    pieces = [settings[key] for key in sorted(settings) if key.startswith("createOptions")]
    assert all(len(piece) <= 512 for piece in pieces)
    found: dict[str, Any] = json.loads("".join(pieces))
    return found


def test_the_module_is_an_image_to_move_and_the_registry_is_not() -> None:
    assert module_images(manifest()) == ("fleet.example/imagereconstruction:0.1.0",)


def test_a_release_takes_the_module_from_the_devices_own_registry() -> None:
    reference = "fleet.example/imagereconstruction:0.1.0"

    made = new_content(
        manifest(),
        {},
        workstream="base",
        owners={},
        registry_address="localhost:5000",
        local_digests={reference: "sha256:" + "1" * 64},
    )

    assert made.images["imagereconstruction"] == "localhost:5000/imagereconstruction@sha256:" + "1" * 64
    released = made.content["$edgeAgent"]["properties.desired"]["modules"]
    assert released["registry"]["settings"]["image"] == "registry:2.8.3"


def test_the_registry_starts_first_and_both_are_the_first_to_give_way() -> None:
    modules = modules_of(manifest())
    host = {name: options(name)["HostConfig"] for name in modules}

    assert modules["registry"]["startupOrder"] < modules["imagereconstruction"]["startupOrder"]
    assert host["imagereconstruction"]["Memory"] == host["imagereconstruction"]["MemorySwap"] == 256 * MIB
    assert all(
        each["CpuShares"] < 1024 and each["BlkioWeight"] < 500 and each["OomScoreAdj"] > 0 for each in host.values()
    )
    assert all(each["LogConfig"]["Config"].keys() == {"max-size", "max-file"} for each in host.values())


def test_the_module_has_no_privilege_and_writes_to_its_own_folder_alone() -> None:
    host = options("imagereconstruction")["HostConfig"]

    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and "no-new-privileges" in host["SecurityOpt"]
    written = [bind for bind in host["Binds"] if not bind.endswith(":ro")]
    assert written == ["/var/lib/imagedelta:/data", "/var/lib/imagedelta-registry/imagedelta:/registry"]
    assert not any("docker.sock" in bind for bind in host["Binds"])


def test_what_the_registry_and_the_module_share_is_one_folder() -> None:
    """Its lock keeps a collection from taking layers while they arrive (docs/registry.md)."""
    registry, module = (
        dict(bind.split(":")[:2][::-1] for bind in options(name)["HostConfig"]["Binds"])
        for name in ("registry", "imagereconstruction")
    )
    shared = modules_of(manifest())["imagereconstruction"]["env"]["IMAGEDELTA_REGISTRY_SHARED"]["value"]

    assert module[shared] == f"{registry['/var/lib/registry']}/imagedelta"
    assert options("registry")["Entrypoint"] == ["/etc/registry/run"]
    assert (MODULE / "registry/run").stat().st_mode & 0o111


def test_every_setting_of_the_snippet_is_one_of_the_module() -> None:
    page = (ROOT / "docs/settings.md").read_text()

    for module in modules_of(manifest()).values():
        assert [name for name in module.get("env", {}) if f"`{name}`" not in page] == []
