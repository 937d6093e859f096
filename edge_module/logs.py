"""Lines of the log: for people, or one JSON object a line for what collects logs.

Names of files and texts of servers are others' words, and each stays within its line.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from imagedelta.printable import printable

FORMATS = ("text", "json")
_FACTS = "facts"
_QUIET = ("httpx", "httpcore", "urllib3", "azure", "docker", "paho")
"""Libraries that tell of every request; they are heard when something is wrong."""


def facts(**values: object) -> dict[str, dict[str, object]]:
    """What a line is about, for machines: ``log.info("…", extra=facts(image=…, bytes=…, seconds=…))``.

    None says nothing and is left out.
    """
    return {_FACTS: {name: value for name, value in values.items() if value is not None}}


class TextFormatter(logging.Formatter):
    """Spells out control characters and line breaks in messages; a traceback keeps its own lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a method of logging.Formatter
        told = "".join(f" {name}={value}" for name, value in getattr(record, _FACTS, {}).items())
        record.message = printable(record.message + told)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - a method of logging.Formatter
        return "\n".join(map(printable, super().formatException(ei).splitlines()))


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "part", "message", …facts, "traceback"}``; times are UTC, as this machine knows it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            **getattr(record, _FACTS, {}),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "part": record.name.removeprefix("imagedelta."),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, form: str) -> None:
    """Args:
    level: A name of the logging module.
    form: One of FORMATS.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in _QUIET:
        logging.getLogger(library).setLevel(logging.WARNING)
