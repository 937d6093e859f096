from __future__ import annotations

import copy
from typing import Any

import pytest

from planning.manifest import resolve
from planning.release import ModuleClash, NewContent, TwinTooLarge, new_content

REGISTRY = "localhost:5000"


def entry(image: str) -> dict[str, Any]:
    return {"type": "docker", "settings": {"image": image}}


def ordered(modules: dict[str, str], agent: Any = None, **parts: Any) -> dict[str, Any]:
    desired = {"modules": {name: entry(image) for name, image in modules.items()}, **(agent or {})}
    return resolve({"modulesContent": {"$edgeAgent": {"properties.desired": desired}, **parts}}, {})


def on_hub(modules: dict[str, str] | None = None, agent: Any = None, **parts: Any) -> dict[str, Any]:
    desired = {"modules": {name: entry(image) for name, image in (modules or {}).items()}, **(agent or {})}
    return {"$edgeAgent": {"properties.desired": desired}, **parts}


def release(
    manifest: dict[str, Any],
    current: Any,
    owners: dict[str, str] | None = None,
    registry: str | None = REGISTRY,
    digests: dict[str, str | None] | None = None,
) -> NewContent:
    return new_content(
        manifest,
        current,
        workstream="bridge",
        owners=owners or {},
        registry_address=registry,
        local_digests=digests or {},
    )


def agent_of(new: NewContent) -> dict[str, Any]:
    agent: dict[str, Any] = new.content["$edgeAgent"]["properties.desired"]
    return agent


def modules_of(new: NewContent) -> dict[str, str]:
    return {name: item["settings"]["image"] for name, item in agent_of(new)["modules"].items()}


# ------------------------------------------------------------ modules


def test_modules_of_the_workstream_are_replaced_and_others_kept() -> None:
    current = on_hub({"app": "localhost:5000/app:1", "engine": "localhost:5000/engine:7", "found": "x:1"})

    new = release(ordered({"app": "fleet.example/app:2"}), current, {"app": "bridge", "engine": "propulsion"})

    assert modules_of(new) == {"app": "localhost:5000/app:2", "engine": "localhost:5000/engine:7", "found": "x:1"}


def test_a_module_that_the_workstream_no_longer_names_goes_with_its_properties() -> None:
    current = on_hub(
        {"app": "localhost:5000/app:1", "old": "localhost:5000/old:1", "engine": "localhost:5000/engine:7"},
        old={"properties.desired": {"a": 1}},
        engine={"properties.desired": {"b": 2}},
    )
    owners = {"app": "bridge", "old": "bridge", "engine": "propulsion"}

    new = release(ordered({"app": "fleet.example/app:2"}), current, owners)

    assert set(modules_of(new)) == {"app", "engine"}
    assert set(new.content) == {"$edgeAgent", "engine"}


def test_a_module_of_the_same_name_in_another_workstream_is_refused() -> None:
    with pytest.raises(ModuleClash, match=r"app \(of propulsion\)") as caught:
        release(ordered({"app": "fleet.example/app:2", "own": "x:1"}), on_hub(), {"app": "propulsion"})

    assert caught.value.code == "release.module_clash"


def test_neither_the_manifest_nor_what_the_hub_holds_is_changed() -> None:
    manifest = ordered({"app": "fleet.example/app:2"}, **{"$edgeHub": {"properties.desired": {"routes": {"b": "B"}}}})
    current = on_hub({"old": "x:1"}, **{"$edgeHub": {"properties.desired": {"routes": {"a": "A"}}}})
    before = copy.deepcopy((manifest, current))

    release(manifest, current, {"old": "bridge"})

    assert (manifest, current) == before


# ------------------------------------------------------------ image names


def test_an_image_is_pinned_by_the_digest_that_the_device_reported() -> None:
    digests: dict[str, str | None] = {"fleet.example/a/app:2": "sha256:" + "1" * 64}

    new = release(ordered({"app": "fleet.example/a/app:2"}), on_hub(), digests=digests)

    assert new.images == {"app": "localhost:5000/a/app@sha256:" + "1" * 64}
    assert modules_of(new) == dict(new.images)


def test_without_a_digest_the_tag_pins() -> None:
    new = release(ordered({"app": "fleet.example/app:2"}), on_hub(), registry="10.0.0.7:5001")

    assert new.images == {"app": "10.0.0.7:5001/app:2"}


def test_a_device_without_a_registry_pulls_from_where_the_manifest_says() -> None:
    digests: dict[str, str | None] = {"fleet.example/app:2": "sha256:" + "1" * 64}

    new = release(ordered({"app": "fleet.example/app:2"}), on_hub(), registry=None, digests=digests)

    assert new.images == {"app": "fleet.example/app:2"}


def test_system_modules_and_the_registry_itself_are_never_rewritten() -> None:
    system = {"edgeAgent": entry("mcr.example/agent:1.5"), "edgeHub": entry("mcr.example/hub:1.5")}
    manifest = ordered(
        {"app": "fleet.example/app:2", "store": "docker.io/library/registry:2"}, {"systemModules": system}
    )

    new = release(manifest, on_hub(), digests={"docker.io/library/registry:2": "sha256:" + "1" * 64})

    assert modules_of(new)["store"] == "docker.io/library/registry:2"
    images = {name: item["settings"]["image"] for name, item in agent_of(new)["systemModules"].items()}
    assert images == {"edgeAgent": "mcr.example/agent:1.5", "edgeHub": "mcr.example/hub:1.5"}


# ------------------------------------------------------------ runtime, routes, properties


def test_credentials_of_other_workstreams_stay() -> None:
    def runtime(**credentials: str) -> dict[str, Any]:
        return {"runtime": {"type": "docker", "settings": {"registryCredentials": credentials}}}

    new = release(ordered({"app": "x:2"}, runtime(ours="new")), on_hub(agent=runtime(ours="old", theirs="kept")))

    assert agent_of(new)["runtime"]["settings"]["registryCredentials"] == {"ours": "new", "theirs": "kept"}


def test_credentials_stay_where_the_manifest_brings_a_runtime_without_any() -> None:
    current = on_hub(agent={"runtime": {"settings": {"registryCredentials": {"theirs": "kept"}}}})

    new = release(ordered({"app": "x:2"}, {"runtime": {"type": "docker"}}), current)

    assert agent_of(new)["runtime"] == {"type": "docker", "settings": {"registryCredentials": {"theirs": "kept"}}}


def test_a_manifest_without_runtime_leaves_the_one_that_is_there() -> None:
    runtime = {"type": "docker", "settings": {"minDockerVersion": "v1.25"}}
    system = {"edgeAgent": entry("mcr.example/agent:1.5")}

    new = release(ordered({"app": "x:2"}), on_hub(agent={"runtime": runtime, "systemModules": system}))

    assert (agent_of(new)["runtime"], agent_of(new)["systemModules"]) == (runtime, system)


def test_routes_are_merged_by_name() -> None:
    hub = {"properties.desired": {"routes": {"a": "new", "c": "C"}, "storeAndForwardConfiguration": {"s": 1}}}
    routes = {"a": "old", "b": "B"}
    current = on_hub()
    current["$edgeHub"] = {"properties.desired": {"routes": routes, "schemaVersion": "1.1"}}

    new = release(ordered({"app": "x:2"}, **{"$edgeHub": hub}), current)

    assert new.content["$edgeHub"]["properties.desired"] == {
        "routes": {"a": "new", "b": "B", "c": "C"},
        "schemaVersion": "1.1",
        "storeAndForwardConfiguration": {"s": 1},
    }


def test_properties_of_our_modules_are_taken_over_and_others_kept() -> None:
    current = on_hub({"engine": "x:1"}, app={"properties.desired": {"a": 1}}, engine={"properties.desired": {"b": 2}})

    new = release(ordered({"app": "x:2"}, app={"properties.desired": {"c": 3}}), current, {"engine": "propulsion"})

    assert new.content["app"] == {"properties.desired": {"c": 3}}
    assert new.content["engine"] == {"properties.desired": {"b": 2}}


# ------------------------------------------------------------ what changes


def test_content_that_stands_already_is_no_change() -> None:
    manifest = ordered({"app": "fleet.example/app:2"}, app={"properties.desired": {"c": 3}})
    first = release(manifest, on_hub({"engine": "x:1"}))

    again = release(manifest, first.content, {"app": "bridge"})

    assert (first.changes, again.changes) == (True, False)
    assert again.images == first.images


def test_what_a_hub_does_not_keep_is_no_change() -> None:
    manifest = ordered({"app": "x:2"}, {"runtime": {"type": "docker", "note": None}}, app={"properties.desired": {}})
    kept = copy.deepcopy(dict(release(manifest, on_hub()).content))
    del kept["app"], kept["$edgeAgent"]["properties.desired"]["runtime"]["note"]

    assert not release(manifest, kept, {"app": "bridge"}).changes


def test_what_the_hub_wrote_itself_is_neither_a_change_nor_written_back() -> None:
    manifest = ordered({"app": "x:2"})
    kept = copy.deepcopy(dict(release(manifest, on_hub()).content))
    kept["$edgeAgent"]["properties.desired"] |= {"$version": 7, "$metadata": {"a": 1}}

    again = release(manifest, kept, {"app": "bridge"})

    assert not again.changes
    assert not {"$version", "$metadata"} & set(agent_of(again))


def test_another_image_is_a_change() -> None:
    first = release(ordered({"app": "x:2"}), on_hub())

    assert release(ordered({"app": "x:3"}), first.content, {"app": "bridge"}).changes


@pytest.mark.parametrize(
    "current",
    [
        {},
        {"$edgeAgent": {}},
        {"$edgeAgent": None},
        {"$edgeAgent": {"properties.desired": "x"}},
        {"$edgeAgent": {"properties.desired": {"modules": "x", "runtime": [], "systemModules": 7}}, "$edgeHub": []},
        {"$edgeAgent": {"properties.desired": {"runtime": {"settings": {"registryCredentials": 7}}}}, "stray": "x"},
        {"$edgeHub": {"properties.desired": {"routes": 7}}},
    ],
)
def test_whatever_stands_in_a_hub_can_be_released_over(current: Any) -> None:
    system = {"edgeAgent": entry("mcr.example/agent:1.5")}
    hub = {"$edgeHub": {"properties.desired": {"routes": {"a": "A"}}}}
    agent = {"runtime": {"type": "docker"}, "systemModules": system}

    new = release(ordered({"app": "x:2"}, agent, **hub), current)

    assert modules_of(new) == {"app": "localhost:5000/x:2"}
    assert set(agent_of(new)["systemModules"]) == {"edgeAgent"}
    assert new.content["$edgeHub"]["properties.desired"]["routes"] == {"a": "A"}


def test_what_would_not_fit_beside_other_workstreams_is_refused() -> None:
    others = {f"other-{number}": "x:1" for number in range(50)}
    large = {"big": {"properties.desired": {str(number): "x" * 4000 for number in range(9)}}}

    with pytest.raises(TwinTooLarge, match="51 modules"):
        release(ordered({"app": "x:1"}), on_hub(others))
    with pytest.raises(TwinTooLarge, match="big would have"):
        release(ordered({"app": "x:1"}), on_hub({"big": "x:1"}, **large))
