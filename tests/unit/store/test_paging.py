from __future__ import annotations

import base64
import json

import pytest

from imagedelta.errors import RequestError
from tests.unit.store.world import World


def device_pages(world: World, limit: int) -> list[list[str]]:
    pages, after = [], None
    while True:
        page = world.store.devices.list_devices(state=None, hub=None, tag=None, limit=limit, after=after)
        pages.append([device.device_id for device in page.items])
        if (after := page.next) is None:
            return pages


def test_pages_together_hold_every_row_once_in_order(world: World) -> None:
    names = [world.device(f"ship-{number:02}") for number in range(7)]

    assert device_pages(world, 3) == [names[:3], names[3:6], names[6:]]
    assert device_pages(world, 7) == [names]


def test_an_empty_list_is_one_empty_page(world: World) -> None:
    assert device_pages(world, 3) == [[]]


def test_rows_of_the_same_time_are_neither_skipped_nor_repeated(world: World) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], *[f"app:{number}" for number in range(7)])
    filters = {"device_id": None, "image_id": None, "state": None, "set_id": of.set_id}
    seen, after = [], None
    while True:
        page = world.store.transfers.list_transfers(limit=2, after=after, **filters)
        seen += [transfer.transfer_id for transfer in page.items]
        if (after := page.next) is None:
            break

    assert sorted(seen) == sorted({transfer.transfer_id for transfer in world.store.transfers.of_set(of.set_id)})
    assert len(seen) == 7


def test_a_row_added_meanwhile_does_not_disturb_the_next_page(world: World) -> None:
    for name in ("b", "d", "f"):
        world.device(name)
    first = world.store.devices.list_devices(state=None, hub=None, tag=None, limit=2, after=None)

    world.device("a")
    world.device("c")

    second = world.store.devices.list_devices(state=None, hub=None, tag=None, limit=2, after=first.next)
    assert [device.device_id for device in second.items] == ["f"]


NESTED = base64.urlsafe_b64encode(b"[" * 3000 + b"]" * 3000).decode()


def forged(values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


@pytest.mark.parametrize(
    "after",
    ["", "%%%", "é", forged([]), forged(["a", "b", "c"]), forged([1, "x"]), forged({"a": 1}), forged(7), NESTED],
)
def test_a_forged_continuation_is_refused(world: World, after: str) -> None:
    with pytest.raises(RequestError, match="after"):
        world.store.images.list_images(reference=None, platform=None, limit=5, after=after)


@pytest.mark.parametrize("limit", [-5, 0, 10**9])
def test_a_limit_is_held_within_bounds(world: World, limit: int) -> None:
    world.device("ship-1")

    assert len(world.store.devices.list_devices(state=None, hub=None, tag=None, limit=limit, after=None).items) == 1
