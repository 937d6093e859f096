"""What the host writes while it runs: one line per event on stderr, as a dev server does."""

from __future__ import annotations

import logging
import os
import time

from imagedelta_host.errors import SettingInvalid

_FORMAT = "[%(asctime)s.%(msecs)03dZ] %(levelname)-7s %(message)s"


class _UtcFormatter(logging.Formatter):
    """Times in UTC, like the real host."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return time.strftime(datefmt or "%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))


def configure_logging() -> None:
    """Send everything from the level ``IMAGEDELTA_HOST_LOG`` (default INFO) to stderr.

    Raises:
        SettingInvalid: There is no such level.
    """
    level = _level(os.environ.get("IMAGEDELTA_HOST_LOG") or "INFO")
    handler = logging.StreamHandler()
    handler.setFormatter(_UtcFormatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    for noisy in ("aiohttp.access", "alembic", "azure", "httpcore", "httpx", "sqlalchemy", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _level(name: str) -> int:
    levels = logging.getLevelNamesMapping()
    if name.upper() not in levels:
        raise SettingInvalid(f"IMAGEDELTA_HOST_LOG must be one of {', '.join(levels)}, not {name!r}")
    return levels[name.upper()]
