"""A bundle becomes an image in this process: room is counted first, and whatever happens in between leaves no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_module.engines import ENGINE_DISK, MODULE_DISK, LayersGone, Need, PresentImage, Work
from edge_module.engines.layout import LayoutEngine
from edge_module.rebuild import Rebuilder
from edge_module.rebuilds import RebuildTask
from edge_module.refused import RefusedFiles
from imagedelta.errors import DependencyError, SourceMissing
from tests.engines.place import listed, make
from tests.images import gzipped, oci_files
from tests.simulators.files import FileSystemSimulator
from tests.unit.edge.world import APP_1, APP_2, make_bundle

BUNDLE = make_bundle()
TASK = RebuildTask("inbox/app.bundle", BUNDLE.head, "app:2", 128 * 1024 * 1024)


class Ship:
    def __init__(self, pack=None) -> None:
        self.disk = FileSystemSimulator()
        self.disk.make_folders("inbox")
        self.disk.put(TASK.bundle, BUNDLE.data)
        if pack is None:
            make(LayoutEngine(self.disk), APP_1, "app:1")
        else:
            for name, data in oci_files(APP_1, pack=pack).items():
                self.disk.make_folders("images/blobs/sha256")
                self.disk.put(f"images/{name}", data)
        self.engine = LayoutEngine(self.disk)
        self.begun = 0

    def rebuild(self, engine=None, *, reserve: int = 0) -> PresentImage:
        self.begun = 0
        rebuilder = Rebuilder(self.disk, engine or self.engine, RefusedFiles(self.disk), reserve)
        return rebuilder.rebuild(TASK, self._begin)

    def _begin(self) -> None:
        self.begun += 1

    def used(self) -> int:
        return sum(map(len, self.disk.files().values()))

    def leave_free(self, free: int) -> None:
        self.disk.capacity = self.used() + free

    def leftovers(self) -> list[str]:
        return [*self.disk.list("scratch"), *self.disk.list("images/ingest")]


class Odd:
    """The engine, but for what a test changes."""

    def __init__(self, engine: LayoutEngine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


@pytest.fixture
def ship() -> Ship:
    return Ship()


def test_the_image_is_whole_and_not_yet_named(ship: Ship) -> None:
    present = ship.rebuild()

    assert (present.image_id, present.references, ship.begun) == (APP_2.image_id, (), 1)
    assert listed(LayoutEngine(ship.disk)) == {APP_1.image_id: ("app:1",), APP_2.image_id: ()}
    assert ship.leftovers() == []


@pytest.mark.parametrize("pack", [None, gzipped])
def test_with_as_much_room_as_was_asked_for_it_is_enough(pack) -> None:
    """So what is counted first is not less than what is taken."""
    ship = Ship(pack)
    ship.leave_free(0)
    with pytest.raises(DependencyError) as raised:
        ship.rebuild()
    assert (raised.value.code, ship.begun) == ("disk.full", 0)
    needed = int(str(raised.value).split()[0])

    ship.leave_free(needed)
    ship.rebuild()

    assert set(listed(ship.engine)) == {APP_1.image_id, APP_2.image_id}
    assert ship.leftovers() == []


def test_the_reserve_stays_free(ship: Ship) -> None:
    ship.leave_free(300_000)

    with pytest.raises(DependencyError) as raised:
        ship.rebuild(reserve=200_000)
    assert (raised.value.code, ship.begun) == ("disk.full", 0)
    ship.rebuild(reserve=1000)


def test_nothing_is_written_before_it_is_known_to_fit(ship: Ship) -> None:
    ship.leave_free(1000)
    before = ship.disk.files()

    with pytest.raises(DependencyError):
        ship.rebuild()

    assert ship.disk.files() == before


def test_a_disk_that_gets_full_at_any_point_loses_nothing_and_the_job_goes_on_when_there_is_room() -> None:
    """Whatever the file system promised: another program may take the room."""
    whole = Ship()
    before = whole.used()
    whole.rebuild()
    needed = whole.used() - before
    tried = 0

    for free in range(0, needed + 4000, 9_000):
        ship = Ship()
        ship.leave_free(free)
        ship.disk.promise_free = 1 << 40
        try:
            ship.rebuild()
        except DependencyError as error:
            tried += 1
            assert error.code == "disk.full"
            assert ship.leftovers() == []
            assert listed(LayoutEngine(ship.disk)) == {APP_1.image_id: ("app:1",)}
        ship.disk.capacity = 1 << 40
        ship.rebuild()
        assert set(listed(LayoutEngine(ship.disk))) == {APP_1.image_id, APP_2.image_id}
    assert tried >= 10


def test_layers_made_before_the_disk_was_full_are_not_made_again(ship: Ship) -> None:
    ship.leave_free(sum(map(len, APP_2.layers[1:])) + 1000)
    ship.disk.promise_free = 1 << 40
    with pytest.raises(DependencyError):
        ship.rebuild()
    ship.disk.capacity = 1 << 40
    before = len(ship.disk.log)

    ship.rebuild()

    made = [line for line in ship.disk.log[before:] if line.startswith("create images/ingest/")]
    assert len(made) < 2


def test_a_place_elsewhere_that_is_too_full_is_told_by_name(ship: Ship) -> None:
    class Elsewhere(Odd):
        def needs(self, *_: object) -> list[Need]:
            return [Need(ENGINE_DISK, 1000, 999)]

    with pytest.raises(DependencyError, match="at engine") as raised:
        ship.rebuild(Elsewhere(ship.engine))
    assert (raised.value.code, ship.begun) == ("disk.full", 0)


def test_a_place_whose_room_cannot_be_known_hinders_nothing(ship: Ship) -> None:
    class Unknown(Odd):
        def needs(self, *_: object) -> list[Need]:
            return [Need(ENGINE_DISK, 1 << 50, None), Need(MODULE_DISK, 0, 10)]

    assert ship.rebuild(Unknown(ship.engine)).image_id == APP_2.image_id


@pytest.mark.parametrize("times", [1, 2])
def test_layers_that_vanish_are_made_again_at_once(ship: Ship, times: int) -> None:
    engine = Vanishing(ship.engine, times)

    assert ship.rebuild(engine).image_id == APP_2.image_id
    assert (ship.begun, engine.sessions) == (1, 2 + times)


def test_layers_that_vanish_again_and_again_make_the_job_wait(ship: Ship) -> None:
    with pytest.raises(LayersGone) as raised:
        ship.rebuild(Vanishing(ship.engine, 99))

    assert raised.value.retryable
    assert listed(ship.engine) == {APP_1.image_id: ("app:1",)}


class Vanishing(Odd):
    """Somebody else removes a layer just before the image is finished."""

    def __init__(self, engine: LayoutEngine, times: int) -> None:
        super().__init__(engine)
        self.times = times
        self.sessions = 0

    @contextmanager
    def begin(self, *arguments: object) -> Iterator[Work]:
        self.sessions += 1
        with self._engine.begin(*arguments) as work:  # type: ignore[arg-type]
            finish = work.finish

            def interfered(config: bytes) -> PresentImage:
                if self.times:
                    self.times -= 1
                    self._engine._files.remove(f"images/blobs/sha256/{APP_2.image.diff_ids[1][7:]}")
                return finish(config)

            work.finish = interfered  # type: ignore[method-assign]
            yield work


@pytest.mark.parametrize("damage", ["missing", "cut", "rotten", "packed and rotten"])
def test_a_damaged_source_is_a_lost_source_whatever_it_looks_like(damage: str) -> None:
    ship = Ship(gzipped if damage == "packed and rotten" else None)
    stored = [name for name in ship.disk.files() if name.startswith("images/blobs/sha256/")]
    name = max(stored, key=lambda each: len(ship.disk.files()[each]))
    data = bytearray(ship.disk.files()[name])
    if damage == "missing":
        ship.disk.remove(name)
    elif damage == "cut":
        ship.disk.put(name, bytes(data[:4000]))
    else:
        data[2000] ^= 1  # in what the patch takes from the source
        ship.disk.put(name, bytes(data))

    with pytest.raises(SourceMissing):
        ship.rebuild()

    assert ship.leftovers() == []
    assert APP_2.image_id not in listed(LayoutEngine(ship.disk))


def test_another_bundle_under_the_same_name_is_not_taken_for_this_one(ship: Ship) -> None:
    ship.disk.put(TASK.bundle, make_bundle(bundle_id="another").data)

    with pytest.raises(DependencyError) as raised:
        ship.rebuild()
    assert raised.value.retryable
