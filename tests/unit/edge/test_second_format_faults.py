"""A patch with predictions, digests of lists, folds and mixed bytes is applied while everything fails once."""

from __future__ import annotations

import copy
import errno
import io
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from imagedelta.delta import read_patch_header
from imagedelta.delta.format.coders import NATIVE_CODERS
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from tests.simulators.files import MODES, FileSystemSimulator, PowerCut
from tests.unit.delta.patches import a_patch
from tests.unit.delta.second_format import a_little_of_everything
from tests.unit.edge.test_power_loss import PASSING
from tests.unit.edge.world import MadeBundle, World, make_bundle

OLD, NEW = a_little_of_everything(1, ("app:1",)), a_little_of_everything(2, ("app:2",))
PROFILE = "v2-64m-cm"
ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS)
THOROUGH = (False, pytest.param(True, marks=pytest.mark.long))


@cache
def bundle() -> MadeBundle:
    with tempfile.TemporaryDirectory() as scratch:
        patch, summary = a_patch(NEW, OLD, scratch=Path(scratch), profile=PROFILES[PROFILE])
    return make_bundle(
        patch=patch,
        target_image_id=NEW.image_id,
        source_image_ids=(OLD.image_id,),
        memory_bytes=summary.memory_bytes,
    )


@cache
def a_disk() -> FileSystemSimulator:
    return World(OLD).disk


def a_ship() -> World:
    world = World(keep_disk=copy.deepcopy(a_disk()))
    world.drop_into_inbox(bundle())
    return world


@cache
def operations() -> tuple[int, int]:
    """Writes, syncs, renames and the like, and reads, from the first boot to the last report."""
    world = a_ship()
    writes, reads = world.disk.operations, world.disk.reads
    world.run()
    return world.disk.operations - writes, world.disk.reads - reads


def assert_done(world: World) -> None:
    assert world.references() == {"app:1": OLD.image_id, "app:2": NEW.image_id}
    assert world.final_report() == ("succeeded", None)
    assert len([report for report in world.hub.reports if report.state not in PASSING]) == 1
    assert world.leftovers() == []


def test_the_patch_has_everything_in_it() -> None:
    streams = {row.role: row.coder for row in read_patch_header(io.BytesIO(bundle().patch)).streams}

    assert {Role.PREDICTIONS, Role.DIGESTS, Role.FOLDS} <= streams.keys()
    assert set(streams.values()) & NATIVE_CODERS


def turns(count: int, every: int, thorough: bool) -> Iterator[tuple[int, int]]:
    """Positions, and which of three ways to fail there: in turn, or all of them at each position."""
    for at in range(1, count + 1, 1 if thorough else every):
        for way in range(3) if thorough else (at // every % 3,):
            yield at, way


@pytest.mark.parametrize("thorough", THOROUGH)
def test_power_lost_at_any_write_costs_nothing(thorough: bool) -> None:
    for at, way in turns(operations()[0], 4, thorough):
        world = a_ship()
        world.disk.cut_power_at(at)
        with pytest.raises(PowerCut):
            world.run()
        world.disk.reboot(MODES[way], seed=at)

        assert world.image_ids() in ({OLD.image_id}, {OLD.image_id, NEW.image_id}), f"operation {at}"
        world.run()

        assert_done(world)


@pytest.mark.parametrize("thorough", THOROUGH)
def test_a_process_that_is_killed_at_any_write_goes_on_with_the_layers_that_it_finished(thorough: bool) -> None:
    """A list of digests may be in the layer behind those that are there already."""
    for at, _ in turns(operations()[0], 7, thorough):
        world = a_ship()
        world.disk.cut_power_at(at)
        with pytest.raises(PowerCut):
            world.run()
        world.disk.restart()
        finished = [name for name in world.disk.files() if name.startswith("images/blobs/") and name[-4:] != ".tmp"]

        world.run()

        assert_done(world)
        assert set(finished) <= set(world.disk.files())


@pytest.mark.parametrize("thorough", THOROUGH)
def test_a_write_or_a_read_that_fails_once_costs_nothing(thorough: bool) -> None:
    writes, reads = operations()
    for at, way in turns(writes, 5, thorough):
        world = a_ship()
        world.disk.fail_at(at, ERRORS[way])

        world.turn(world.run(turns=2000), 4, seconds=60.0)
        world.run()  # what could not be removed goes at the next start

        assert_done(world)
    for at, way in turns(reads, 16, thorough):
        world = a_ship()
        world.disk.fail_reading_at(at, ERRORS[way])

        world.turn(world.run(turns=2000), 4, seconds=60.0)
        world.run()  # what could not be removed goes at the next start

        assert_done(world)
