from __future__ import annotations

import pytest

from contracts.requests import DeviceSelection
from imagedelta.errors import RequestError
from store.devices.tag_query import tag_condition
from tests.unit.store.world import World

FLEET = {
    "ship-1": {"site": "north", "kind": "ship"},
    "ship-2": {"site": "south", "kind": "ship"},
    "truck-1": {"site": "north", "kind": "truck"},
    "bare": {},
    "o'brien": {"site": "o'hare"},
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tags.site = 'north'", "ship-1 truck-1"),
        ("tags.site = 'north' and tags.kind != 'truck'", "ship-1"),
        ("tags.kind <> 'truck'", "ship-1 ship-2"),
        ("NOT tags.kind = 'truck'", "ship-1 ship-2"),
        ("not not tags.kind = 'truck'", "truck-1"),
        ("not is_defined(tags.kind)", "bare brien"),
        ("tags.site = 'south' OR tags.kind = 'truck'", "ship-2 truck-1"),
        ("tags.kind = 'ship' and (tags.site = 'south' or tags.site = 'north')", "ship-1 ship-2"),
        ("tags.site='south' or tags.kind='truck' and tags.site='south'", "ship-2"),
        ("tags.site in ['south', 'east']", "ship-2"),
        ("deviceId in ['bare','ship-2']", "bare ship-2"),
        ("hub = 'north' and platform = 'linux/amd64'", "bare brien ship-1 ship-2 truck-1"),
        ("platform = 'linux/x86_64' and tags.site = 'south'", "ship-2"),
        ("platform in ['linux/arm', 'amd64'] and tags.site = 'south'", "ship-2"),
        ("tags.site = 'o''hare'", "brien"),
        ("tags.site = 'NORTH'", ""),
        ("tags.site = 'north  '", "ship-1 truck-1"),
        ("tags.site in [' south']", "ship-2"),
    ],
)
def test_a_query_finds_the_devices_it_describes(world: World, query: str, expected: str) -> None:
    for device_id, tags in FLEET.items():
        world.device(device_id.replace("o'", ""), **tags)
    request = world.order([], "app:1", selection=DeviceSelection(query=query))

    try:
        found = [device.device_id for device in world.store.sets.select_devices(request)]
    except RequestError as error:
        assert error.code == "request.no_device"
        found = []

    assert found == expected.split()


@pytest.mark.parametrize(
    "query",
    [
        "tags.site",
        "tags.site = north",
        "tags. = 'x'",
        "tags.site = 'x' and",
        "tags.site = 'x' tags.kind = 'y'",
        "(tags.site = 'x'",
        "tags.site in []",
        "tags.site in ['a' 'b']",
        "owner = 'x'",
        "tags.site = 'x'; drop table devices",
        "tags.site = 'unclosed",
        "is_defined tags.site",
        "(" * 100 + "tags.site = 'x'" + ")" * 100,
        " ",
    ],
)
def test_a_query_that_makes_no_sense_is_refused_with_its_place(query: str) -> None:
    with pytest.raises(RequestError, match="query: "):
        tag_condition(query)
