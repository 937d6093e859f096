"""What lets a device or a pipeline into the storage account, in two ways with the same methods.

``DelegatedGrants`` signs as the app's identity, with a user delegation key: no shared key exists anywhere. It lives 7
days at most, and nothing takes it back but the end of its container. ``KeyGrants`` signs by the account's key; an
outbox is opened through a stored access policy of its container, so that removing that ends every grant at once.
Whatever one signs begins a while ago: clocks differ.

Source: learn.microsoft.com, "Create a user delegation SAS", "Get User Delegation Key", "Define a stored access
policy", "Best practices when using SAS" (15 minutes of clock skew). Reports: apache/polaris#5484 (a start that is
now), django-storages#1525 (an end that is seven days from a clock that runs ahead).
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from services.blobs.azure_account import Account
from services.blobs.azure_errors import ContainerMissing
from services.ports import Clock, Grant

SKEW = timedelta(minutes=15)
KEY_LIFETIME = timedelta(days=7) - SKEW
"""Seven days by the storage's clock, which may be behind ours."""
KEY_KEPT = timedelta(hours=1)
"""A grant loses at most so much of its seven days to a key that was fetched before, and ten thousand grants need few
keys."""
_OUTBOX = "rl"
_READ = "r"
_WRITE = "rcw"
_POLICY = "device-"


class Grants(Protocol):
    def read(self, container: str, lifetime: timedelta) -> Grant:
        """To read and list a container, which is made where it is not there."""
        ...

    def blob(self, container: str, name: str, lifetime: timedelta) -> Grant:
        """To read one blob."""
        ...

    def write(self, container: str, name: str, lifetime: timedelta) -> Grant:
        """To write one blob, and see how far that has come."""
        ...


@dataclass(frozen=True)
class _Key:
    value: Any
    fetched_at: datetime
    ends_at: datetime


class DelegatedGrants:
    """Many threads may ask."""

    def __init__(self, account: Account, now: Clock) -> None:
        self._account = account
        self._now = now
        self._fetching = threading.Lock()
        self._kept: _Key | None = None

    def read(self, container: str, lifetime: timedelta) -> Grant:
        self._account.make_container(container)
        return self._signed(container, None, _OUTBOX, lifetime)

    def blob(self, container: str, name: str, lifetime: timedelta) -> Grant:
        return self._signed(container, name, _READ, lifetime)

    def write(self, container: str, name: str, lifetime: timedelta) -> Grant:
        self._account.make_container(container)
        return self._signed(container, name, _WRITE, lifetime)

    def _signed(self, container: str, name: str | None, permissions: str, lifetime: timedelta) -> Grant:
        """Never past the end of its key: the storage would refuse it then, whatever it says of itself."""
        now, key = self._now(), self._key()
        end = _whole_seconds(min(now + lifetime, key.ends_at))
        query = self._account.sas(
            container,
            name,
            permission=permissions,
            start=_whole_seconds(key.fetched_at - SKEW),
            expiry=end,
            user_delegation_key=key.value,
        )
        return Grant(query, end)

    def _key(self) -> _Key:
        with self._fetching:
            now = self._now()
            if self._kept is None or not now - KEY_KEPT < self._kept.fetched_at <= now:
                end = _whole_seconds(now + KEY_LIFETIME)
                value = self._account.delegation_key(_whole_seconds(now - SKEW), end)
                self._kept = _Key(value, now, end)
            return self._kept


class KeyGrants:
    """A grant is revoked with the policy of its container, or with the container."""

    def __init__(self, account: Account, now: Clock) -> None:
        self._account = account
        self._now = now

    def read(self, container: str, lifetime: timedelta) -> Grant:
        """The policy says what may be done, the grant until when: so a renewal prolongs no older grant."""
        end = self._end(lifetime)
        query = self._account.sas(container, None, policy_id=self._policy(container), expiry=end)
        return Grant(query, end)

    def blob(self, container: str, name: str, lifetime: timedelta) -> Grant:
        return self._signed(container, name, _READ, lifetime)

    def write(self, container: str, name: str, lifetime: timedelta) -> Grant:
        self._account.make_container(container)
        return self._signed(container, name, _WRITE, lifetime)

    def _signed(self, container: str, name: str, permissions: str, lifetime: timedelta) -> Grant:
        end = self._end(lifetime)
        start = _whole_seconds(self._now() - SKEW)
        return Grant(self._account.sas(container, name, permission=permissions, start=start, expiry=end), end)

    def _policy(self, container: str) -> str:
        """The one of this container; a container that was deleted and made anew gets another one."""
        try:
            ids = self._account.policies(container)
        except ContainerMissing:
            self._account.make_container(container)
            ids = ()
        for policy in ids:
            if policy.startswith(_POLICY):
                return policy
        policy = f"{_POLICY}{secrets.token_hex(8)}"
        self._account.set_policy(container, policy, _OUTBOX)
        return policy

    def _end(self, lifetime: timedelta) -> datetime:
        return _whole_seconds(self._now() + lifetime)


def _whole_seconds(moment: datetime) -> datetime:
    """As a SAS writes it."""
    return moment.astimezone(UTC).replace(microsecond=0)
