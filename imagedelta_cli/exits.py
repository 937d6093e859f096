"""Exit codes, and how an error reaches a person: one plain sentence, its code, what to do.

0 done · 1 refused, or the content is wrong · 2 wrong use of the command line · 3 an outside service did not
answer, try again · 128 + the number of the signal that ended it: 130 Ctrl-C, 143 SIGTERM, 129 terminal closed.
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
from imagedelta_cli.terminal import say

DONE, REFUSED, USAGE, UNAVAILABLE = 0, 1, 2, 3
HUNG_UP, INTERRUPTED, TERMINATED = 128 + SIGHUP, 128 + SIGINT, 128 + SIGTERM
ALL = (DONE, REFUSED, USAGE, UNAVAILABLE, HUNG_UP, INTERRUPTED, TERMINATED)
"""Every exit code of every command; docs/cli.md explains each."""
DEBUG_VARIABLE = "IMAGEDELTA_DEBUG"


def report_usage(error: click.ClickException) -> int:
    """Print how the command is used and what was wrong with it; return its exit code."""
    message = io.StringIO()
    error.show(message)
    for line in message.getvalue().splitlines():
        say(line, err=True)
    return USAGE


def report(error: ImageDeltaError) -> int:
    """Print ``error`` to stderr and return its exit code."""
    _trace()
    say(f"Error: {error}", err=True)
    say(f"  code: {error.code}", err=True)
    say(f"  what to do: {error.remedy}", err=True)
    return UNAVAILABLE if error.retryable else REFUSED


def report_os_error(error: OSError) -> int:
    """Print a file that is missing, unreadable or does not fit the disk; return its exit code."""
    _trace()
    where = f"{error.filename}: " if error.filename else ""
    say(f"Error: {where}{error.strerror or error}", err=True)
    say("  code: system", err=True)
    say("  what to do: check the path, its permissions and the free space on its disk.", err=True)
    return REFUSED


def report_stopped(error: BaseException) -> int:
    """Say that a signal ended the command, and what is true now; return its exit code."""
    number = signal_of(error)
    with suppress(OSError):  # after a hang-up there is no terminal to say it to
        say("Interrupted." if number == SIGINT else "Stopped.", err=True)
        for note in notes_of(error) or ["Nothing was left half-done."]:
            say(note, err=True)
    return 128 + number


def report_defect(error: Exception) -> int:
    """Print an error nobody foresaw; return its exit code."""
    _trace()
    say(f"Error: {type(error).__name__}: {error}", err=True)
    say("  code: internal", err=True)
    say(f"  what to do: run it again with {DEBUG_VARIABLE}=1 and report what it prints.", err=True)
    return REFUSED


def _trace() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        for line in traceback.format_exc().splitlines():
            say(line, err=True)
