"""A patch whose blob was taken away, though SQL calls it verified: it is built anew, and no set waits for ever."""

from __future__ import annotations

import pytest

from tests.simulators.fleet import FleetSimulator


def patches(fleet: FleetSimulator) -> list[str]:
    return [info.name for info in fleet.blobs.list("patches")]


@pytest.mark.parametrize("taken", ["patch", "chunk list", "both", "cut short"])
def test_a_patch_that_is_gone_is_built_anew_for_whoever_comes_next(fleet: FleetSimulator, taken: str) -> None:
    fleet.register("app:1", "app:2")
    fleet.enrol("ship-1", "app:1")
    fleet.start("app:2")
    fleet.run()
    patch, chunk_list = patches(fleet)
    if taken == "cut short":
        fleet.blobs.put("patches", patch, [b"short"])
    for name in {"patch": [patch], "chunk list": [chunk_list], "both": [patch, chunk_list]}.get(taken, []):
        fleet.blobs.delete("patches", name)

    fleet.enrol("ship-2", "app:1")
    second = fleet.start("app:2", devices=["ship-2"])
    fleet.run()

    assert fleet.transfer(second, "ship-2").state == "succeeded"
    assert fleet.members(second) == {"ship-2": "applied"}
    assert patches(fleet) == [patch, chunk_list]
