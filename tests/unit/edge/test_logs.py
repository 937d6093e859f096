"""The module's log cannot be made to say what it does not say, and machines can read it."""

from __future__ import annotations

import json
import logging
from typing import Any

from edge_module.logs import JsonFormatter, TextFormatter, facts

FORGED = "a.bundle\n2030-01-01 INFO all is well\x1b[2J"


def a_record(*, failed: bool = False, **told: object) -> logging.LogRecord:
    error = None
    if failed:
        try:
            raise ValueError(FORGED)
        except ValueError as caught:
            error = (ValueError, caught, caught.__traceback__)
    record = logging.LogRecord("imagedelta.apply", logging.ERROR, "x", 1, "%s refused", (FORGED,), error)
    record.__dict__.update(facts(**told))
    return record


def test_a_name_stays_within_its_line_and_a_traceback_keeps_its_lines() -> None:
    first, *rest = TextFormatter().format(a_record(failed=True, image=FORGED)).split("\n")

    spelled = r"a.bundle\n2030-01-01 INFO all is well\x1b[2J"
    assert first.endswith(f" ERROR {spelled} refused image={spelled}")
    assert all(line.isprintable() for line in rest)
    assert rest[-2] == "ValueError: a.bundle"


def test_a_line_of_json_holds_what_it_is_about_and_nothing_forged_replaces_that() -> None:
    line = JsonFormatter().format(a_record(image="app:2", bytes=7, seconds=None, level="all is well"))
    told: dict[str, Any] = json.loads(line)

    assert line.isprintable()
    assert (told["image"], told["bytes"], told["level"], told["part"]) == ("app:2", 7, "error", "apply")
    assert told["message"] == f"{FORGED} refused"
    assert told["time"].endswith("+00:00")
    assert "seconds" not in told


def test_a_line_of_json_holds_its_traceback() -> None:
    line = JsonFormatter().format(a_record(failed=True))

    assert line.isprintable()
    assert "ValueError: a.bundle" in json.loads(line)["traceback"]
