"""Whether SQL Server knows what the store says: each statement that runs on SQLite is compiled for T-SQL and looked at.

SQLAlchemy writes T-SQL for what T-SQL has and writes on for what it has not: a comparison as a column, a column that
is not grouped by, an order that DISTINCT forbids. So the statement is looked at as a tree as well as a text.
Source: learn.microsoft.com, T-SQL reference, "SELECT", "Search condition"; errors 102, 145, 1008, 8120; the limits of
"Maximum capacity specifications for SQL Server".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Boolean, Engine, event
from sqlalchemy.dialects.mssql.pyodbc import MSDialect_pyodbc
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, Case, ClauseElement, ColumnElement, Label, Null, Over
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.schema import Column
from sqlalchemy.sql.selectable import ScalarSelect, Select, SelectBase
from sqlalchemy.sql.sqltypes import NullType

DIALECT = MSDialect_pyodbc()
DIALECT.server_version_info = (16, 0)
DIALECT.deprecate_large_types = True
DIALECT._supports_offset_fetch = True
MAX_PARAMETERS = 2_100 - 3
"""Of a request; the driver's own, such as the statement and the handle, count too."""

_AGGREGATES = frozenset({"count", "sum", "min", "max", "avg"})
_UNKNOWN = {
    r"\bLIMIT\b": "LIMIT",
    r"\bRETURNING\b": "RETURNING",
    r"\bON CONFLICT\b": "ON CONFLICT",
    r"\bNULLS (FIRST|LAST)\b": "NULLS FIRST and LAST",
    r"\bFOR UPDATE\b": "FOR UPDATE",
    r"\bIS (NOT )?[01]\b": "IS for bits",
    r"\bIS (NOT )?DISTINCT FROM\b": "IS DISTINCT FROM before 2022 and on Babelfish",
    r"\(\w+(\.\w+)?, \w+(\.\w+)?\) (IN|[<>=])": "rows of values",
    r"\|\|": "|| before 2025",
    r"\b(true|false)\b": "literals of truth",
    r"\bWITH RECURSIVE\b": "RECURSIVE",
    r"\bGLOB\b|\bREGEXP\b": "GLOB and REGEXP",
    r"\bMERGE\b": "MERGE, which races",
    r"\b(FETCH|OFFSET)\b(?=[^']*$)": "paging by OFFSET: lists go on by their keys",
}


def problems(statement: ClauseElement) -> list[str]:
    """What SQL Server would not take of it, or would take for something else."""
    compiled = statement.compile(dialect=DIALECT)
    text = str(compiled)
    plain = re.sub(r"'[^']*'", "''", text)
    found = [f"{what}: not in T-SQL" for pattern, what in _UNKNOWN.items() if re.search(pattern, plain)]
    for element in visitors.iterate(statement):
        found += _problems_of(element)
    found += _problems_of_values(statement)
    found += [problem for bind in compiled.bind_names if (problem := _of_parameter(bind))]
    return [f"{problem}\n{text}" for problem in found]


def _problems_of(element: Any) -> Iterator[str]:
    if isinstance(element, Select):
        yield from _of_select(element)
    elif isinstance(element, FunctionElement):
        yield from (f"a condition as argument of {element}" for each in element.clauses if _is_condition(each))
    elif isinstance(element, Case):
        results = [result for _, result in element.whens] + [element.else_]
        yield from ("a condition as the value of CASE" for result in results if _is_condition(result))


def _of_select(select: Select[Any]) -> Iterator[str]:
    columns = [column for column in select._raw_columns if isinstance(column, ColumnElement)]
    yield from (f"a condition as a column: {column}" for column in columns if _is_condition(column))
    order = list(select._order_by_clauses)
    grouped = list(select._group_by_clauses)
    aggregated = any(_aggregates(column) for column in columns)
    if grouped or aggregated:
        for column in [*columns, *order]:
            if not _aggregates(column) and not _is_constant(column) and not _among(column, grouped, columns):
                yield f"neither grouped by nor aggregated (8120): {column}"
    yield from (f"parameters in GROUP BY never match those of the column (8120): {by}" for by in grouped if _binds(by))
    if select._distinct:
        yield from (f"ordered by what DISTINCT leaves out (145): {by}" for by in order if not _among(by, columns, []))
    if any(_is_constant(_bare(by)) for by in order):
        yield "ordered by a constant (1008)"


def _problems_of_values(statement: Any) -> Iterator[str]:
    values = getattr(statement, "_values", None) or {}
    yield from (f"a condition is assigned to {column}" for column, value in values.items() if _is_condition(value))


def _is_condition(element: Any) -> bool:
    """Whether T-SQL has no value for it: a condition, not a BIT."""
    inner = _bare(element)
    return (
        isinstance(inner, ColumnElement)
        and isinstance(inner.type, Boolean)
        and not isinstance(inner, Column | BindParameter | Case | FunctionElement | Null)
        and not hasattr(inner, "table")
    )


def _bare(element: Any) -> Any:
    while isinstance(element, Label) or type(element).__name__ in ("UnaryExpression", "Grouping", "_label_reference"):
        element = element.element
    return element


def _aggregates(element: Any) -> bool:
    """Not what a subquery or a window over rows adds up for itself."""
    if isinstance(element, SelectBase | ScalarSelect | Over):
        return False
    if isinstance(element, FunctionElement) and getattr(element, "name", "") in _AGGREGATES:
        return True
    return any(_aggregates(child) for child in element.get_children())


def _is_window(element: Any) -> bool:
    return any(isinstance(each, Over) for each in visitors.iterate(element))


def _is_constant(element: Any) -> bool:
    return isinstance(_bare(element), BindParameter | Null) or _is_window(element)


def _binds(element: Any) -> bool:
    return any(isinstance(each, BindParameter) for each in visitors.iterate(element))


def _among(element: Any, these: list[Any], labelled: list[Any]) -> bool:
    bare = _bare(element)
    if any(bare is _bare(each) or bare.compare(_bare(each)) for each in these):
        return True
    return any(element is each or bare is each for each in labelled if isinstance(each, Label))


def _of_parameter(bind: BindParameter[Any]) -> str | None:
    """Without a type of its column it is sent as NVARCHAR: then a VARCHAR column is converted and its index lost."""
    return f"a parameter of no type: {bind.key}" if isinstance(bind.type, NullType) else None


@contextmanager
def listening(engine: Engine) -> Iterator[set[str]]:
    """Fails at the first statement that SQL Server would not take; the T-SQL of what runs meanwhile.

    Also at one that is said while rows of an earlier one are still to be read on the same connection: that needs MARS,
    which Azure SQL's driver has switched off.
    """
    texts: set[str] = set()
    known: dict[Any, None] = {}
    last: dict[int, Any] = {}

    def look(connection: Any, clause: Any, *_rest: Any) -> None:
        result = last.pop(id(connection), None)
        assert result is None or result._soft_closed, f"rows of an earlier statement are still to be read: {clause}"
        if not isinstance(clause, ClauseElement) or not hasattr(clause, "_generate_cache_key"):
            return
        key = clause._generate_cache_key()
        if key is not None and key.key in known:
            return
        if wrong := problems(clause):
            raise AssertionError("\n\n".join(wrong))
        texts.add(str(clause.compile(dialect=DIALECT)))
        if key is not None:
            known[key.key] = None

    def remember(connection: Any, _clause: Any, *rest: Any) -> None:
        result = rest[-1]
        if result.returns_rows:
            last[id(connection)] = result

    def count(_connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        assert many or len(parameters) <= MAX_PARAMETERS, f"{len(parameters)} parameters: {text[:200]}"

    listeners = (("before_execute", look), ("after_execute", remember), ("before_cursor_execute", count))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        yield texts
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)
