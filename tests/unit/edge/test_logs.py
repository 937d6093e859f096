"""The module's log cannot be made to say what it does not say."""

from __future__ import annotations

import logging

from edge_module.logs import PrintableFormatter

FORGED = "a.bundle\n2030-01-01 INFO all is well\x1b[2J"


def test_a_name_stays_within_its_line_and_a_traceback_keeps_its_lines():
    try:
        raise ValueError(FORGED)
    except ValueError as error:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "%s refused", (FORGED,), (ValueError, error, None))

    first, *rest = PrintableFormatter("%(levelname)s %(message)s").format(record).split("\n")

    assert first == r"ERROR a.bundle\n2030-01-01 INFO all is well\x1b[2J refused"
    assert all(line.isprintable() for line in rest)
    assert rest[0] == "ValueError: a.bundle"
