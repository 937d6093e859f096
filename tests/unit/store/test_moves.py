"""The state machines of contracts.states against SQL: each move from each state, by each mover."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest
from sqlalchemy import Connection

from contracts.records import Transfer
from contracts.states import API, DEVICE, MEMBER, ORCHESTRATOR, SET, TIMER, TRANSFER, StateMachine
from imagedelta.errors import RequestError
from store.kernel.derive import _TRANSFERS_OF_MEMBERS
from store.kernel.ledger import Ledger
from store.kernel.moves import move_member, move_set
from store.kernel.schema import members, sets, transfers
from store.transfers.rows import find_transfer
from tests.unit.store.world import World

MOVERS = (API, ORCHESTRATOR, TIMER, DEVICE)
TABLES = {"set": (SET, sets), "member": (MEMBER, members), "transfer": (TRANSFER, transfers)}


@pytest.mark.parametrize("kind", TABLES)
def test_sql_makes_every_allowed_move_and_no_other(world: World, kind: str) -> None:
    machine, table = TABLES[kind]
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    transfer_id = world.transfer(of, "ship-1").transfer_id

    def move(connection: Connection, old: str, new: str, mover: str) -> tuple[bool, str]:
        """Whether it moved, and the state that stands afterwards."""
        connection.execute(table.update().values(state=old))
        try:
            with connection.begin_nested():
                if kind == "set":
                    moved = move_set(connection, of.set_id, old, new, mover, world.now)
                elif kind == "member":
                    moved = move_member(connection, of.set_id, "ship-1", old, new, mover, world.now)
                else:
                    moved = move_transfer(connection, find_transfer(connection, transfer_id), new, mover, world.now)
        except RequestError:
            moved = False
        return moved, connection.execute(table.select().with_only_columns(table.c.state)).scalar_one()

    def walk(connection: Connection) -> None:
        connection.execute(sets.update().values(state="cancelled"))  # so that no member follows its transfer
        for old, new, mover in every_move(machine):
            allowed = machine.allows(old, new, mover)
            assert move(connection, old, new, mover) == (allowed, new if allowed else old)

    world.store._db.write(walk)


def move_transfer(connection: Connection, transfer: Transfer | None, new: str, mover: str, at: datetime) -> bool:
    assert transfer is not None
    with Ledger(connection, mover, at) as ledger:
        return ledger.transfer(transfer, new)


def every_move(machine: StateMachine) -> list[tuple[str, str, str]]:
    pairs = itertools.permutations(sorted(machine.states), 2)
    return [(old, new, mover) for old, new in pairs for mover in MOVERS]


@pytest.mark.parametrize("kind", TABLES)
def test_a_move_from_a_state_that_no_longer_stands_changes_nothing(world: World, kind: str) -> None:
    world.device("ship-1", "-")
    of = world.set(["ship-1"], "app:2")
    transfer = world.transfer(of, "ship-1")
    world.publish(of)
    world.cancel(of)
    before = (world.states(of), world.transfer(of, "ship-1"))
    events = len(world.store.sets.events(of.set_id, limit=100, after=None).items)

    def late(connection: Connection) -> bool:
        if kind == "set":
            return move_set(connection, of.set_id, "preparing", "in_transit", TIMER, world.now)
        if kind == "member":
            return move_member(connection, of.set_id, "ship-1", "in_transit", "ready", TIMER, world.now)
        return move_transfer(connection, transfer, "building", ORCHESTRATOR, world.now)

    assert world.store._db.write(late) is False
    assert (world.states(of), world.transfer(of, "ship-1")) == before
    assert len(world.store.sets.events(of.set_id, limit=100, after=None).items) == events


def test_leading_members_on_begins_with_the_transfers_that_moved_and_never_with_all_of_a_set(world: World) -> None:
    query = _TRANSFERS_OF_MEMBERS.params(ids=[f"transfer-{number}" for number in range(500)])

    def plan(connection: Connection) -> list[str]:
        written = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        return [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {written}")]

    steps = world.store._db.read(plan)
    assert not [step for step in steps if "state" in step]
    assert not [step for step in steps if step.endswith("(set_id=?)") and "deployment_sets" not in step]
