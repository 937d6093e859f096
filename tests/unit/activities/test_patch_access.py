from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from activities.patch_access import patch_access
from contracts.messages import PatchAccess
from imagedelta_local.blobs.access import AccessRefused, require
from services.blobs.folder import FolderBlobs
from services.ports import Grant
from tests.simulators.blobs import BlobsSimulator
from tests.simulators.clock import ClockSimulator

KEY = base64.b64encode(b"k" * 32).decode()
WEEK = timedelta(days=7)


class Blobs(BlobsSimulator):
    """Grants with the parameters of a user delegation SAS."""

    def blob_grant(self, container: str, name: str, lifetime: timedelta) -> Grant:
        fixed = "&".join(f"sk{letter}={letter * 36}" for letter in "ostev") + "&sv=2021-12-02&sr=b&sp=r"
        return Grant(f"{fixed}&sig={name[:44]}%3D", self._now() + lifetime)


def queries(access: PatchAccess) -> list[list[str]]:
    """As the device joins them."""
    return [sorted(part for part in f"{access.query}&{each.query}".split("&") if part) for each in access.grants]


def patches(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 32])
def test_each_grant_is_whole_when_it_is_joined_to_what_all_have_in_common(count: int) -> None:
    blobs = Blobs(ClockSimulator())

    access, ends = patch_access(blobs, patches(count), WEEK)

    assert access is not None
    wanted = [blobs.blob_grant("patches", name, WEEK).query for name in patches(count)]
    assert queries(access) == [sorted(query.split("&")) for query in wanted]
    assert [each.patch for each in access.grants] == patches(count)
    assert ends == blobs._now() + WEEK


def test_thirty_two_grants_take_a_seventh_of_a_twin() -> None:
    access, _ = patch_access(Blobs(ClockSimulator()), patches(32), WEEK)

    assert access is not None
    assert len(access.model_dump_json(by_alias=True)) < 5_000


def test_a_device_with_no_shared_bundle_gets_no_access() -> None:
    assert patch_access(Blobs(ClockSimulator()), [], WEEK) == (None, None)


def test_a_grant_for_one_blob_opens_this_blob_for_reading_alone(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path, url="http://host.example/blobs", key=KEY)

    grant = blobs.blob_grant("patches", "ab", timedelta(hours=1))

    query = dict(parse_qsl(grant.query))
    require(KEY, query, "r", "patches", "ab")
    for needed, name in (("r", "cd"), ("l", ""), ("w", "ab")):
        with pytest.raises(AccessRefused):
            require(KEY, query, needed, "patches", name)
