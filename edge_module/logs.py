"""Lines of the log: names of files and texts of servers are others' words, and each stays within its line."""

from __future__ import annotations

import logging
from typing import Any

from imagedelta.printable import printable


class PrintableFormatter(logging.Formatter):
    """Spells out control characters and line breaks in messages; a traceback keeps its own lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a method of logging.Formatter
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - a method of logging.Formatter
        return "\n".join(map(printable, super().formatException(ei).splitlines()))
