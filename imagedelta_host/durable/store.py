"""Instances, histories, inboxes and pending activities in SQLite. SQL only: no rule of the protocol is here.

Every change is made inside ``transaction()``; an episode is exactly one of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagedelta_host.database import Database, transaction
from imagedelta_host.durable.episode import Message
from imagedelta_host.durable.history import Event, EventType, compact, now_text, replay_text, task_of

_SCHEMA = """
create table if not exists instance(
    id text primary key, execution text not null, name text not null, version text not null, input text,
    status text not null, output text, custom_status text, created text not null, updated text not null,
    parent text, parent_execution text, parent_task integer, plan text not null default '',
    suspended integer not null default 0);
create index if not exists instance_created on instance(created, id);
create table if not exists history(
    n integer primary key autoincrement, instance text not null, entry text not null);
create index if not exists history_instance on history(instance, n);
create table if not exists inbox(
    n integer primary key autoincrement, instance text not null, execution text, kind integer not null,
    task integer, due real not null, entry text not null);
create index if not exists inbox_instance on inbox(instance, n);
create table if not exists work(
    n integer primary key autoincrement, instance text not null, execution text not null, task integer not null,
    name text not null, input text, deaths integer not null default 0);
create index if not exists work_instance on work(instance);
"""


@dataclass(frozen=True)
class Parent:
    """The run that started a sub-orchestration, and under which task id."""

    instance: str
    execution: str
    task: int


@dataclass(frozen=True)
class Instance:
    """One orchestration instance; times are text as in events, ``input`` and ``output`` JSON text."""

    id: str
    execution: str
    name: str
    version: str
    input: str | None
    status: str
    output: str | None
    custom_status: str | None
    created: str
    updated: str
    parent: str | None
    parent_execution: str | None
    parent_task: int | None
    plan: str
    suspended: int

    @property
    def parent_of(self) -> Parent | None:
        """The run and task that wait for this instance."""
        if self.parent is None or self.parent_execution is None or self.parent_task is None:
            return None
        return Parent(self.parent, self.parent_execution, self.parent_task)


@dataclass(frozen=True)
class Work:
    """An activity that was scheduled and has no result yet; ``deaths`` counts workers that died running it."""

    n: int
    instance: str
    execution: str
    task: int
    name: str
    input: str | None
    deaths: int


@dataclass(frozen=True)
class Filter:
    """Which instances a query or purge is about; times are text as in events."""

    prefix: str = ""
    created_from: str = ""
    created_to: str = ""
    statuses: tuple[str, ...] = ()
    after: tuple[str, str] | None = None


class DurableStore:
    """The database of the durable engine."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _SCHEMA)
        self._db = self._database.connection

    def close(self) -> None:
        """Close the database; everything committed is on disk already."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One atomic, durable change."""
        with transaction(self._db):
            yield

    # Instances

    def instance(self, instance: str) -> Instance | None:
        """The instance with that id, if there is one."""
        row = self._db.execute("select * from instance where id = ?", (instance,)).fetchone()
        return None if row is None else Instance(**dict(row))

    def insert_instance(self, row: Instance) -> None:
        """Store a new instance, in place of one with the same id."""
        marks = ",".join("?" * 15)
        self._db.execute(f"insert or replace into instance values({marks})", tuple(vars(row).values()))

    def update_instance(self, instance: str, **columns: object) -> None:
        """Change columns of an instance and its time of last update."""
        columns["updated"] = now_text()
        assignments = ",".join(f"{name} = ?" for name in columns)
        self._db.execute(
            f"update instance set {assignments} where id = ?",  # noqa: S608
            (*columns.values(), instance),
        )

    def delete_run(self, instance: str, *, keep_history: bool = False) -> None:
        """Forget history, inbox and pending work of an instance."""
        tables = ("inbox", "work") if keep_history else ("inbox", "work", "history")
        for table in tables:
            self._db.execute(f"delete from {table} where instance = ?", (instance,))  # noqa: S608

    def delete_instance(self, instance: str) -> None:
        """Forget everything about an instance."""
        self.delete_run(instance)
        self._db.execute("delete from instance where id = ?", (instance,))

    def find(self, wanted: Filter, limit: int) -> list[Instance]:
        """Instances in order of creation, at most ``limit``."""
        clauses, values = _conditions(wanted)
        rows = self._db.execute(
            f"select * from instance where {clauses} order by created, id limit ?",  # noqa: S608
            (*values, limit),
        )
        return [Instance(**dict(row)) for row in rows.fetchall()]

    # History

    def history(self, instance: str) -> list[str]:
        """The stored events as JSON text, oldest first."""
        rows = self._db.execute("select entry from history where instance = ? order by n", (instance,))
        return [row[0] for row in rows.fetchall()]

    def append_history(self, instance: str, entries: Iterable[Event]) -> list[str]:
        """Store events; returns them as they will be read again."""
        texts = [replay_text(entry) for entry in entries]
        self._db.executemany("insert into history(instance, entry) values(?, ?)", [(instance, t) for t in texts])
        return texts

    def replace_history(self, instance: str, entries: Iterable[Event]) -> None:
        """Store these events in place of all."""
        self._db.execute("delete from history where instance = ?", (instance,))
        self.append_history(instance, entries)

    # Inbox

    def post(self, instance: str, entry: Event, *, execution: str | None = None, due: float = 0.0) -> None:
        """Put an event into an inbox; one bound to an ``execution`` is stale once another run has begun."""
        self._db.execute(
            "insert into inbox(instance, execution, kind, task, due, entry) values(?, ?, ?, ?, ?, ?)",
            (instance, execution, entry["EventType"], task_of(entry), due, compact(entry)),
        )

    def messages(self, instance: str, execution: str, now: float) -> list[Message]:
        """What is due in an inbox, oldest first, without what belongs to an earlier run."""
        rows = self._db.execute(
            "select n, entry from inbox where instance = ? and due <= ? and coalesce(execution, ?) = ? order by n",
            (instance, now, execution, execution),
        )
        return [Message(row["n"], json.loads(row["entry"])) for row in rows.fetchall()]

    def remove_messages(self, messages: Iterable[Message]) -> None:
        """Take messages out of their inbox."""
        self._db.executemany("delete from inbox where n = ?", [(message.number,) for message in messages])

    def remove_task_message(self, instance: str, execution: str, task: int) -> None:
        """Take a timer that was cancelled out of the inbox."""
        self._db.execute(
            "delete from inbox where instance = ? and execution = ? and task = ?", (instance, execution, task)
        )

    def tasks_in_inbox(self, instance: str, execution: str) -> frozenset[int]:
        """Tasks whose success waits in the inbox of a run."""
        rows = self._db.execute(
            "select task from inbox where instance = ? and execution = ? and kind in (?, ?)",
            (instance, execution, EventType.TASK_COMPLETED, EventType.CHILD_COMPLETED),
        )
        return frozenset(int(row[0]) for row in rows.fetchall())

    def unbound_messages(self, instance: str) -> list[Event]:
        """Events for the instance whatever its run: they outlive a continue-as-new."""
        rows = self._db.execute(
            "select entry from inbox where instance = ? and execution is null order by n", (instance,)
        )
        return [json.loads(row[0]) for row in rows.fetchall()]

    def wake_times(self) -> list[tuple[float, str]]:
        """When which instance has something to do, for the start of the host."""
        rows = self._db.execute("select distinct due, instance from inbox")
        return [(float(row[0]), str(row[1])) for row in rows.fetchall()]

    # Activities

    def add_work(self, instance: str, execution: str, task: int, name: str, raw_input: str | None) -> Work:
        """Record an activity to run."""
        cursor = self._db.execute(
            "insert into work(instance, execution, task, name, input) values(?, ?, ?, ?, ?)",
            (instance, execution, task, name, raw_input),
        )
        return Work(cursor.lastrowid or 0, instance, execution, task, name, raw_input, 0)

    def pending_work(self) -> list[Work]:
        """All activities without a result, oldest first."""
        rows = self._db.execute("select * from work order by n").fetchall()
        return [Work(**dict(row)) for row in rows]

    def has_work(self, work: Work) -> bool:
        """Whether the result of an activity is still wanted."""
        return self._db.execute("select 1 from work where n = ?", (work.n,)).fetchone() is not None

    def finish_work(self, work: Work) -> bool:
        """Take an activity off the list; ``False`` when nobody wants its result any more."""
        return self._db.execute("delete from work where n = ?", (work.n,)).rowcount > 0

    def count_death(self, work: Work) -> None:
        """Record that a worker process died while it ran this activity."""
        self._db.execute("update work set deaths = deaths + 1 where n = ?", (work.n,))


def _conditions(wanted: Filter) -> tuple[str, list[Any]]:
    clauses, values = ["1 = 1"], list[Any]()
    if wanted.prefix:
        clauses.append("substr(id, 1, length(?)) = ?")
        values += [wanted.prefix, wanted.prefix]
    if wanted.created_from:
        clauses.append("created >= ?")
        values.append(wanted.created_from)
    if wanted.created_to:
        clauses.append("created <= ?")
        values.append(wanted.created_to)
    if wanted.statuses:
        clauses.append(f"status in ({','.join('?' * len(wanted.statuses))})")
        values += wanted.statuses
    if wanted.after:
        clauses.append("(created, id) > (?, ?)")
        values += wanted.after
    return " and ".join(clauses), values
