"""Log lines with what they speak of: for people the ids at the end of the line, for machines one JSON object a line.

Where the lines go is the host's business: its handlers stay, their formatters are wrapped.
"""

from __future__ import annotations

import json
import logging
import time

from imagedelta.errors import ImageDeltaError
from services.watching.log_fields import log_fields
from services.watching.settings import JSON

_MAX_MESSAGE = 8_000
"""Application Insights cuts at 32,768 bytes; a line of JSON that is cut is none."""
_MAX_TRACE = 12_000


def set_up_logs(log_format: str) -> None:
    """Of this process, from now on; once is enough, and more does no harm."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, _Fields):
            handler.setFormatter(_Json() if log_format == JSON else _Text(handler.formatter))


class _Fields(logging.Formatter):
    pass


class _Text(_Fields):
    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        line = self._inner.format(record)
        told = " ".join(f"{name}={value}" for name, value in log_fields().items())
        first, newline, rest = line.partition("\n")
        return f"{first} [{told}]{newline}{rest}" if told else line


class _Json(_Fields):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "at": f"{at}.{int(record.msecs):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_MESSAGE],
            **log_fields(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["code"] = error.code if isinstance(error, ImageDeltaError) else "internal"
            line["exception"] = self.formatException(record.exc_info)[-_MAX_TRACE:]
        return json.dumps(line, ensure_ascii=False, default=str)
