"""Hubs, identities and twins in SQLite. A commit is on disk before a request is answered."""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imagedelta_host.database import Database, transaction
from imagedelta_local.iothub.twins import Properties, stamped

_SCHEMA = """
create table if not exists hub(name text primary key, key text not null);
create table if not exists identity(
    hub text not null, device text not null, module text not null, primary_key text not null,
    secondary_key text not null, generation text not null, etag text not null, status text not null,
    edge integer not null, tags text not null, desired text not null, desired_version integer not null,
    reported text not null, reported_times text not null, reported_version integer not null,
    version integer not null, updated text not null, primary key(hub, device, module));
create table if not exists deployment(
    number integer primary key autoincrement, hub text not null, id text not null, condition text not null,
    priority integer not null, content text not null, etag text not null, created text not null, unique(hub, id));
create table if not exists message(
    sequence integer primary key autoincrement, hub text not null, enqueued text not null, body blob not null,
    system text not null, properties text not null);
create index if not exists message_hub on message(hub, sequence);
create table if not exists checkpoint(
    hub text not null, consumer text not null, sequence integer not null, primary key(hub, consumer));
"""


@dataclass
class Identity:
    """A device (``module`` empty) or a module, with its twin; ``version`` counts every change of the twin."""

    hub: str
    device: str
    module: str
    primary_key: str
    secondary_key: str
    generation: str
    etag: str
    status: str
    edge: bool
    tags: Properties
    desired: Properties
    desired_version: int
    reported: Properties
    reported_times: Properties
    reported_version: int
    version: int
    updated: str

    @staticmethod
    def new(hub: str, device: str, module: str = "", *, edge: bool = False) -> Identity:
        """A new identity with fresh keys, an empty twin and its own generation."""
        return Identity(
            hub=hub,
            device=device,
            module=module,
            primary_key=new_key(),
            secondary_key=new_key(),
            generation=str(secrets.randbelow(10**18)),
            etag=new_etag(),
            status="enabled",
            edge=edge,
            tags={},
            desired={},
            desired_version=1,
            reported={},
            reported_times={},
            reported_version=1,
            version=1,
            updated=now(),
        )

    def change_desired(self, desired: Properties) -> None:
        """Set desired properties under the next version."""
        self.desired = desired
        self.desired_version += 1
        self.touch()

    def change_reported(self, reported: Properties, patch: Properties) -> None:
        """Set reported properties, as ``patch`` made them, under the next version."""
        self.touch()
        self.reported = reported
        self.reported_times = stamped(self.reported_times, patch, self.updated)
        self.reported_version += 1

    def touch(self) -> None:
        """Note a change: version, etag and time."""
        self.version += 1
        self.etag = new_etag()
        self.updated = now()


_COLUMNS = tuple(Identity.__dataclass_fields__)
_JSON = ("tags", "desired", "reported", "reported_times")


class HubStore:
    """The database of all local hubs."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)
        self.db: sqlite3.Connection = self._database.connection

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def transaction(self) -> AbstractContextManager[None]:
        """One atomic, durable change."""
        return transaction(self.db)

    def ensure_hub(self, name: str) -> str:
        """Create a hub if it is not there; returns the key of its service policy, base64."""
        with self.transaction():
            self.db.execute("insert or ignore into hub(name, key) values(?, ?)", (name, new_key()))
        row = self.db.execute("select key from hub where name = ?", (name,)).fetchone()
        return str(row[0])

    def hub_key(self, name: str) -> str | None:
        """The service key of a hub; ``None`` when there is no such hub."""
        row = self.db.execute("select key from hub where name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def identity(self, hub: str, device: str, module: str = "") -> Identity | None:
        """A device, or a module of it."""
        row = self.db.execute(
            "select * from identity where hub = ? and device = ? and module = ?", (hub, device, module)
        ).fetchone()
        return None if row is None else _identity(row)

    def devices(self, hub: str) -> list[Identity]:
        """All devices of a hub, by id."""
        rows = self.db.execute("select * from identity where hub = ? and module = '' order by device", (hub,))
        return [_identity(row) for row in rows.fetchall()]

    def modules(self, hub: str, devices: Collection[str] | None = None) -> list[Identity]:
        """All modules of a hub, or of these devices, by id."""
        if devices is None:
            rows = self.db.execute(
                "select * from identity where hub = ? and module <> '' order by device, module", (hub,)
            )
        else:
            rows = self.db.execute(
                "select * from identity where hub = ? and device in (select value from json_each(?)) "
                "and module <> '' order by device, module",
                (hub, json.dumps(list(devices))),
            )
        return [_identity(row) for row in rows.fetchall()]

    def put(self, identity: Identity) -> None:
        """Store an identity, in place of one with the same name."""
        marks = ",".join("?" * len(_COLUMNS))
        values = [_stored(name, getattr(identity, name)) for name in _COLUMNS]
        self.db.execute(
            f"insert or replace into identity({','.join(_COLUMNS)}) values({marks})",
            values,
        )

    def delete_device(self, hub: str, device: str) -> None:
        """Forget a device and its modules."""
        self.db.execute("delete from identity where hub = ? and device = ?", (hub, device))

    def delete_module(self, hub: str, device: str, module: str) -> None:
        """Forget a module."""
        self.db.execute("delete from identity where hub = ? and device = ? and module = ?", (hub, device, module))


def _stored(name: str, value: Any) -> Any:
    if name in _JSON:
        return json.dumps(value, separators=(",", ":"))
    return int(value) if isinstance(value, bool) else value


def _identity(row: sqlite3.Row) -> Identity:
    values = {name: json.loads(row[name]) if name in _JSON else row[name] for name in _COLUMNS}
    return Identity(**{**values, "edge": bool(values["edge"])})


def new_key() -> str:
    """A symmetric key of 32 bytes, base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_etag() -> str:
    """An etag without quotes."""
    return base64.b64encode(secrets.token_bytes(8)).decode()


def now() -> str:
    """The present, UTC, with milliseconds, as the hub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
