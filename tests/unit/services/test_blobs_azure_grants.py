"""Delegation keys are kept for a while and never outlived; many threads ask for one key."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from azure.core.credentials import TokenCredential
from azure.storage.blob import UserDelegationKey

from activities.patch_access import patch_access
from contracts.outbox import outbox_container
from imagedelta.errors import DependencyError
from planning.desired import GRANT_BYTES, MAX_BYTES, size_of
from services.blobs.azure import AzureBlobs
from services.blobs.azure_account import Account
from services.blobs.azure_grants import KEY_LIFETIME, SKEW, DelegatedGrants
from services.blobs.azure_settings import StorageSettings
from tests.e2e.parts.storage_identity import StorageIdentity
from tests.simulators.clock import ClockSimulator

DAY = timedelta(days=1)
HUB_BYTES = 32 * 1024
"""Of desired properties. Source: "Understand and use module twins in IoT Hub", "Module twin size"."""


class Keys:
    """An account that gives delegation keys by the storage's rule, and signs by writing down what it is given."""

    key = None

    def __init__(self, now: ClockSimulator, behind: timedelta = timedelta()) -> None:
        self.fetched: list[tuple[datetime, datetime]] = []
        self._now, self._behind = now, behind

    def make_container(self, container: str) -> None: ...

    def delegation_key(self, start: datetime, end: datetime) -> tuple[datetime, datetime]:
        """Source: Get User Delegation Key: Expiry is at most seven days from now, by the storage's clock."""
        assert start < self._now() - self._behind
        assert end <= self._now() - self._behind + 7 * DAY
        self.fetched.append((start, end))
        return start, end

    def sas(self, container: str, name: str | None, **what: Any) -> str:
        start, end = what["user_delegation_key"]
        assert start <= what["start"] and what["expiry"] <= end, "the storage refuses what is outside of its key"
        return f"se={what['expiry'].isoformat()}"


@pytest.fixture
def now() -> ClockSimulator:
    return ClockSimulator()


def grants(now: ClockSimulator, keys: Keys) -> DelegatedGrants:
    return DelegatedGrants(keys, now)  # type: ignore[arg-type]


def test_a_grant_is_as_long_as_the_storage_allows_and_says_so(now: ClockSimulator) -> None:
    given = grants(now, Keys(now))

    assert given.read("outbox-ship", 30 * DAY).expires_at == now() + KEY_LIFETIME
    assert given.blob("patches", "a", DAY).expires_at == now() + DAY
    assert given.write("intake", "a", timedelta(hours=2)).expires_at == now() + timedelta(hours=2)


def test_ten_thousand_grants_take_a_key_an_hour_and_none_lives_shorter_than_almost_seven_days(
    now: ClockSimulator,
) -> None:
    keys = Keys(now)
    given = grants(now, keys)
    lives = []
    for _ in range(10_000):
        lives.append(given.read("outbox-ship", 30 * DAY).expires_at - now())
        now.forward(seconds=1)

    assert len(keys.fetched) == 3
    assert min(lives) > 7 * DAY - timedelta(minutes=15, hours=1)


@pytest.mark.parametrize("behind", [timedelta(minutes=-14), timedelta(), timedelta(minutes=14)])
def test_a_storage_whose_clock_differs_gives_keys_that_count_at_once(now: ClockSimulator, behind: timedelta) -> None:
    keys = Keys(now, behind)

    grants(now, keys).blob("patches", "a", 30 * DAY)

    assert keys.fetched[0][0] == (now() - SKEW).replace(microsecond=0)


def test_threads_that_ask_at_once_share_a_key(now: ClockSimulator) -> None:
    keys = Keys(now)
    given = grants(now, keys)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: given.blob("patches", f"{number}", DAY), range(200)))

    assert len(keys.fetched) == 1


def test_a_clock_that_was_set_back_gets_a_key_of_its_own(now: ClockSimulator) -> None:
    keys = Keys(now)
    given = grants(now, keys)
    given.blob("patches", "a", DAY)

    now.forward(seconds=-86_400)
    grant = given.blob("patches", "a", 30 * DAY)

    assert len(keys.fetched) == 2
    assert grant.expires_at <= now() + 7 * DAY


def test_no_key_now_is_worth_another_try_and_the_next_one_is_kept(now: ClockSimulator) -> None:
    keys = Keys(now)
    given = grants(now, keys)
    fetch, answers = keys.delegation_key, [DependencyError("busy")]

    def once_busy(start: datetime, end: datetime) -> tuple[datetime, datetime]:
        if answers:
            raise answers.pop()
        return fetch(start, end)

    keys.delegation_key = once_busy  # type: ignore[method-assign]
    with pytest.raises(DependencyError):
        given.blob("patches", "a", DAY)

    given.blob("patches", "a", DAY)
    given.blob("patches", "b", DAY)
    assert len(keys.fetched) == 1


def test_the_end_is_in_utc_and_whole_seconds(now: ClockSimulator) -> None:
    end = grants(now, Keys(now)).blob("patches", "a", timedelta(seconds=1.7)).expires_at

    assert (end.tzinfo, end.microsecond) == (UTC, 0)


def test_a_twin_has_room_for_the_longest_grants_of_an_outbox_and_thirty_two_patches(now: ClockSimulator) -> None:
    """What planning leaves for them (planning.desired) is enough, as long as an account's name may be."""
    url = f"https://{'a' * 24}.blob.core.windows.net"
    account = Account(StorageSettings(url, "a" * 24, None), cast(TokenCredential, StorageIdentity()))
    key = UserDelegationKey()
    key.signed_oid = key.signed_tid = "23657296-5cd5-45b0-a809-d972a7f4dfe1"
    key.signed_start, key.signed_expiry, key.signed_service = "2030-01-01T12:00:00Z", "2030-01-08T12:00:00Z", "b"
    key.signed_version, key.value = "2026-06-06", "a2V5" * 11
    account.delegation_key = lambda start, end: key  # type: ignore[method-assign]
    account.make_container = lambda container: None  # type: ignore[method-assign]
    blobs = AzureBlobs(account, now)
    patches = [hashlib.sha256(bytes([number])).hexdigest() for number in range(32)]

    access, _ = patch_access(blobs, patches, 7 * DAY)
    outbox = outbox_container("x" * 128)
    written = {
        "outbox": {
            "url": blobs.container_url(outbox),
            "query": blobs.read_grant(outbox, 7 * DAY).query,
            "renewAfter": "x" * 32,
        },
        "patches": access.model_dump(mode="json", by_alias=True) if access else None,
    }

    assert access is not None
    assert all("sig=" in grant.query and len(grant.query) < 80 for grant in access.grants), "the rest is written once"
    assert size_of(written) <= HUB_BYTES - MAX_BYTES + len(patches) * (GRANT_BYTES + 64)
