"""Exit codes, and how an error reaches a person: one plain sentence, its code, what to do.

Each is told apart by what a pipeline does next; docs/cli.md has the table. With ``--json`` an error is one JSON object,
the last line of stderr: stdout holds results alone (docs/adr/0034).
"""

from __future__ import annotations

import io
import os
import traceback
from contextlib import suppress
from signal import SIGHUP, SIGINT, SIGTERM

import click

from imagedelta.errors import ImageDeltaError
from imagedelta_cli.stopping import notes_of, signal_of
from imagedelta_cli.terminal import say, say_json_error

DONE, REFUSED, USAGE, UNAVAILABLE = 0, 1, 2, 3
SET_FAILED, PARTLY_FAILED, NEEDS_PERSON, ALREADY_THERE, OVER_LIMIT, STILL_UNDER_WAY = 4, 5, 6, 7, 8, 9
HUNG_UP, INTERRUPTED, TERMINATED = 128 + SIGHUP, 128 + SIGINT, 128 + SIGTERM
ALL = (
    *(DONE, REFUSED, USAGE, UNAVAILABLE, SET_FAILED, PARTLY_FAILED, NEEDS_PERSON, ALREADY_THERE, OVER_LIMIT),
    *(STILL_UNDER_WAY, HUNG_UP, INTERRUPTED, TERMINATED),
)
"""Every exit code of every command; docs/cli.md explains each."""
DEBUG_VARIABLE = "IMAGEDELTA_DEBUG"


def report_usage(error: click.ClickException, as_json: bool = False) -> int:
    """Tell how the command is used and what was wrong with it; return its exit code."""
    if as_json:
        return _tell(USAGE, "cli.usage", error.format_message(), "See --help of the command.", as_json)
    message = io.StringIO()
    error.show(message)
    for line in message.getvalue().splitlines():
        say(line, err=True)
    return USAGE


def report(error: ImageDeltaError, as_json: bool = False) -> int:
    """Tell ``error`` on stderr and return its exit code: its own, if it has one."""
    code = UNAVAILABLE if error.retryable else REFUSED
    return _tell(getattr(error, "exit_code", code), error.code, str(error), error.remedy, as_json)


def report_os_error(error: OSError, as_json: bool = False) -> int:
    """Tell of a file that is missing, unreadable or does not fit the disk; return its exit code."""
    where = f"{error.filename}: " if error.filename else ""
    remedy = "check the path, its permissions and the free space on its disk."
    return _tell(REFUSED, "system", f"{where}{error.strerror or error}", remedy, as_json)


def report_stopped(error: BaseException, as_json: bool = False) -> int:
    """Say that a signal ended the command, and what is true now; return its exit code."""
    number = signal_of(error)
    word = "Interrupted." if number == SIGINT else "Stopped."
    notes = notes_of(error) or ["Nothing was left half-done."]
    with suppress(OSError):  # after a hang-up there is no terminal to say it to
        if as_json:
            return _tell(128 + number, "cli.stopped", word, " ".join(notes), as_json)
        for line in (word, *notes):
            say(line, err=True)
    return 128 + number


def report_defect(error: Exception, as_json: bool = False) -> int:
    """Tell of an error nobody foresaw; return its exit code."""
    remedy = f"run it again with {DEBUG_VARIABLE}=1 and report what it prints."
    return _tell(REFUSED, "internal", f"{type(error).__name__}: {error}", remedy, as_json)


def _tell(exit_code: int, code: str, detail: str, remedy: str, as_json: bool) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        for line in traceback.format_exc().splitlines():
            say(line, err=True)
    if as_json:
        say_json_error({"error": {"code": code, "detail": detail, "remedy": remedy}, "exitCode": exit_code})
        return exit_code
    say(f"Error: {detail}", err=True)
    say(f"  code: {code}", err=True)
    say(f"  what to do: {remedy}", err=True)
    return exit_code
