from __future__ import annotations

import re

import pytest

from contracts.outbox import bundle_name, outbox_container, transfer_of

CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9])+")
"""Azure: 3 to 63 lower-case letters, digits and single dashes, begun and ended by a letter or digit."""


@pytest.mark.parametrize(
    "device_id", ["ship-1", "SHIP_1", "a", "$", "-", "x" * 128, "a.b:c@d$e", "--a--b--", "Ünïcödé", "a" * 31 + "-b"]
)
def test_every_device_id_gives_a_name_that_blob_storages_take(device_id: str) -> None:
    name = outbox_container(device_id)

    assert CONTAINER.fullmatch(name)
    assert 3 <= len(name) <= 63
    assert name == outbox_container(device_id)


def test_device_ids_that_look_alike_have_outboxes_of_their_own() -> None:
    ids = ["ship-1", "ship_1", "SHIP-1", "ship.1", "ship-1-", "x" * 40, "x" * 41, "$", "-"]

    assert len({outbox_container(device_id) for device_id in ids}) == len(ids)


def test_a_collision_would_take_128_bits() -> None:
    assert re.fullmatch(r"outbox-a-very-long-name-of-a-s-[0-9a-f]{32}", outbox_container("a very long name of a ship"))
    assert len(outbox_container("x" * 128)) == 63


def test_a_person_recognises_the_device() -> None:
    assert outbox_container("MV Nordlys/7").startswith("outbox-mv-nordlys-7-")


def test_names_sort_by_what_is_to_be_fetched_first() -> None:
    names = [
        bundle_name(1, 900, "transfer-b", 1),
        bundle_name(2, 9, "transfer-c", 1),
        bundle_name(2, 10, "transfer-a", 2),
        bundle_name(2, 1_000_000, "transfer-a", 1),
        bundle_name(3, 1, "transfer-a", 1),
    ]

    assert sorted(names) == names


def test_a_name_is_that_of_one_attempt() -> None:
    assert bundle_name(2, 7, "transfer-ab", 3) == "2-000000000007-transfer-ab-3.bundle"


@pytest.mark.parametrize("suffix", ["", ".chunks"])
def test_a_name_tells_its_transfer_and_attempt(suffix: str) -> None:
    transfer_id = "transfer-" + "0a" * 16

    assert transfer_of(bundle_name(2, 7, transfer_id, 12) + suffix) == (transfer_id, 12)


@pytest.mark.parametrize("name", ["readme.txt", "2-7.bundle", "x-000000000007-transfer-ab-1.bundle", "", "a.chunks"])
def test_a_strangers_file_tells_nothing(name: str) -> None:
    assert transfer_of(name) is None
