"""The last desired properties, in memory and on the disk."""

from __future__ import annotations

import errno
import math

import pytest

from edge_module.damage import DamageLog
from edge_module.twin import DesiredState
from tests.simulators.files import FileSystemSimulator
from tests.simulators.hub_device import HubSimulator


def a_state(disk: FileSystemSimulator) -> DesiredState:
    return DesiredState(disk, DamageLog(disk))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_what_the_cloud_wants_holds_at_once_and_is_kept_when_the_disk_takes_it(number: int) -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    state = a_state(disk)
    hub.desired_now = {"paused": True}
    disk.fail_at(1, number, math.inf)

    state.fetch(hub)

    assert (state.current.paused, state.fetched) == (True, True)
    disk.heal()
    assert not a_state(disk).current.paused
    state.fetch(hub)
    disk.reboot("dropped")
    assert a_state(disk).current.paused


def test_what_has_not_changed_is_not_written_again() -> None:
    disk, hub = FileSystemSimulator(), HubSimulator()
    hub.desired_now = {"resync": 4, "keepImages": ["sha256:" + "1" * 64]}
    a_state(disk).fetch(hub)
    before = disk.operations

    state = a_state(disk)
    state.fetch(hub)

    assert (disk.operations, state.current.resync) == (before, 4)


def test_fields_of_another_version_do_no_harm() -> None:
    disk = FileSystemSimulator()
    disk.put("state/desired.json", b'{"version":1,"paused":true,"mood":{"fine":[1]}}')

    assert a_state(disk).current.paused
