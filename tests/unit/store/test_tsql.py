"""What looks at T-SQL finds what SQL Server would refuse, and lets pass what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import and_, bindparam, case, func, literal, or_, select, tuple_

from store.kernel.schema import counters, devices, members, sets, transfers
from store.sql import SqlStore
from tests.unit.store.tsql import listening, problems

STATE = transfers.c.state
NEWEST = select(func.max(sets.c.ordinal)).where(sets.c.workstream == devices.c.hub).scalar_subquery()

REFUSED: dict[str, Any] = {
    "a condition as a column": select(transfers.c.image_id, STATE.in_(["failed"])),
    "a labelled condition": select((STATE == "failed").label("failed")),
    "a condition as a value of CASE": select(case((STATE == "failed", STATE != "x"), else_=STATE == "y")),
    "a condition that is added up": select(func.sum(STATE == "failed")),
    "a condition that is assigned": sets.update().values(overdue=and_(sets.c.deadline.is_not(None))),
    "IS for a bit": select(sets.c.set_id).where(sets.c.overdue.is_(True)),
    "a column that is not grouped by": select(members.c.set_id, members.c.device_id, func.count()).group_by(
        members.c.set_id
    ),
    "an order by what is not grouped": select(func.count()).group_by(members.c.set_id).order_by(members.c.device_id),
    "parameters in GROUP BY": select(case((STATE == "x", 1), else_=0), func.count()).group_by(
        case((STATE == "x", 1), else_=0)
    ),
    "DISTINCT ordered by another column": select(STATE).distinct().order_by(transfers.c.created_at),
    "rows of values": select(STATE).where(tuple_(transfers.c.device_id, transfers.c.image_id).in_([("a", "b")])),
    "NULLS LAST": select(STATE).order_by(transfers.c.created_at.nulls_last()),
    "pages by OFFSET": select(STATE).order_by(transfers.c.created_at).limit(1).offset(2),
    "||": select(transfers.c.device_id.op("||")(STATE)),
    "a parameter of no type": select(literal(None)).where(func.len(bindparam("x")) > 1),
}
TAKEN: dict[str, Any] = {
    "a bit as a column and as a condition": select(sets.c.overdue).where(sets.c.promoted, ~sets.c.overdue),
    "numbers of CASE": select(func.sum(case((or_(STATE == "x", STATE == "y"), 1), else_=0))),
    "grouped and counted": select(STATE, func.count()).group_by(STATE).order_by(func.count().desc(), STATE),
    "a window": select(STATE, func.row_number().over(partition_by=STATE, order_by=transfers.c.created_at)),
    "a scalar subquery that aggregates": select(devices.c.device_id, NEWEST),
    "the first of a subquery": select(select(STATE).order_by(transfers.c.created_at).limit(1).subquery().c.state),
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
def test_what_sql_server_does_not_take_is_found(statement: Any) -> None:
    assert problems(statement) != []


@pytest.mark.parametrize("statement", TAKEN.values(), ids=TAKEN)
def test_what_sql_server_takes_passes(statement: Any) -> None:
    assert problems(statement) == []


def test_a_statement_amid_the_rows_of_another_is_found(store: SqlStore) -> None:
    store._db.write(
        lambda connection: connection.execute(counters.insert(), [{"name": name, "value": 1} for name in "ab"])
    )

    def amid(connection: Any) -> None:
        for _ in connection.execute(select(counters)):
            connection.execute(select(counters)).all()

    with listening(store._db.engine), pytest.raises(AssertionError, match="still to be read"):
        store._db.read(amid)


def test_more_parameters_than_sql_server_takes_are_found(store: SqlStore) -> None:
    many = [str(number) for number in range(2_100)]

    with listening(store._db.engine), pytest.raises(AssertionError, match="2100 parameters"):
        store._db.read(lambda connection: connection.execute(select(counters).where(counters.c.name.in_(many))).all())
