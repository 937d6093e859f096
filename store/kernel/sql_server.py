"""The engine of SQL Server and Azure SQL: Microsoft's ODBC driver, a small pool, and tokens instead of passwords.

Source: learn.microsoft.com, "Using Microsoft Entra ID with the ODBC Driver", "Connection resiliency"; the pyodbc wiki.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext

from imagedelta.errors import RequestError
from store.kernel.retries import Remedy, remedy_of

LOGIN_SECONDS = 15
ACCESS_TOKEN = 1256
"""SQL_COPT_SS_ACCESS_TOKEN of Microsoft's ODBC driver."""
_DRIVER = re.compile(r"ODBC Driver (\d+) for SQL Server")
_LOGIN_WORDS = frozenset({"uid", "user", "user id", "pwd", "password", "authentication", "trusted_connection"})
"""Of a connection string that says itself who logs in; the driver refuses a token beside them (FA005)."""
_INSTALL = "install Microsoft's package msodbcsql18 and what it needs of unixODBC"


def sql_server_engine(url: URL, access_token: Callable[[], str] | None) -> Engine:
    """Raises: RequestError ``settings.invalid`` when there is no driver, or not the one that the URL names."""
    pyodbc = _odbc()
    pyodbc.pooling = False  # two pools would hand out connections that the server has closed
    if "odbc_connect" not in url.query:
        url = url.update_query_dict({"driver": _driver(url, pyodbc.drivers())})
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=5,
        pool_pre_ping=True,
        pool_recycle=1800,
        fast_executemany=True,
        connect_args={"timeout": LOGIN_SECONDS},
    )
    _log_in(engine, url, access_token)
    event.listen(engine, "handle_error", _break_off)
    return engine


def says_who(url: URL) -> bool:
    """Whether the URL holds a login, or a way to one: then no token is sent."""
    words = {word.lower() for word in url.query}
    connect = url.query.get("odbc_connect", "")
    for part in (connect if isinstance(connect, str) else connect[0]).split(";"):
        words.add(part.partition("=")[0].strip().lower())
    return url.username is not None or url.password is not None or bool(words & _LOGIN_WORDS)


def _odbc() -> Any:
    """Imported only where SQL Server is used: it needs libodbc, which a local default does without."""
    try:
        import pyodbc
    except ImportError as error:
        raise RequestError(f"ODBC cannot be loaded ({error}): {_INSTALL}", code="settings.invalid") from error
    return pyodbc


def _driver(url: URL, installed: Sequence[str]) -> str:
    """The one that the URL names, else the newest of Microsoft's."""
    known = sorted((int(found.group(1)), name) for name in installed if (found := _DRIVER.fullmatch(name)))
    wanted = url.query.get("driver")
    if wanted is None and known:
        return known[-1][1]
    if isinstance(wanted, str) and (wanted in installed or "/" in wanted):
        return wanted
    there = ", ".join(installed) or "none"
    named = f" {wanted}, which IMAGEDELTA_DATABASE_URL names," if wanted else ""
    use = f"; or name one of these in the URL: ?driver={known[-1][1].replace(' ', '+')}" if known else ""
    raise RequestError(
        f"the ODBC driver{named} for SQL Server is not installed (there are: {there}): {_INSTALL}{use}",
        code="settings.invalid",
    )


def _log_in(engine: Engine, url: URL, access_token: Callable[[], str] | None) -> None:
    """A URL that says nothing of a login gets a token for each new connection: whoever gives it keeps it while it is
    good."""
    trusted = any(word.lower() == "trusted_connection" for word in url.query)
    sends_token = access_token is not None and not says_who(url)

    @event.listens_for(engine, "do_connect")
    def add_login(_dialect: Any, _record: Any, texts: list[str], arguments: dict[str, Any]) -> None:
        if not trusted:  # SQLAlchemy asks for the login of the operating system where a URL names no user
            texts[0] = texts[0].replace(";Trusted_Connection=Yes", "")
        if sends_token and access_token is not None:
            arguments["attrs_before"] = {ACCESS_TOKEN: token_structure(access_token())}


def token_structure(token: str) -> bytes:
    """ACCESSTOKEN of msodbcsql.h: the length in bytes, then the token as UTF-16."""
    data = token.encode("utf-16-le")
    return struct.pack(f"<I{len(data)}s", len(data), data)


def _break_off(context: ExceptionContext) -> None:
    """A server that says it is being moved, or throttles, is asked again on a new connection."""
    if remedy_of(context.original_exception) is Remedy.RECONNECT:
        context.is_disconnect = True
