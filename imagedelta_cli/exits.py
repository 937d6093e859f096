"""Exit codes, and how an error reaches a person: one plain sentence, its code, what to do.

0 done · 1 refused, or the content is wrong · 2 wrong use of the command line · 3 an outside service did not
answer, try again · 130 interrupted with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback

import click

from imagedelta.errors import ImageDeltaError

DONE, REFUSED, USAGE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 130
DEBUG_VARIABLE = "IMAGEDELTA_DEBUG"


def report(error: ImageDeltaError) -> int:
    """Print ``error`` to stderr and return its exit code."""
    _trace()
    click.echo(f"Error: {error}", err=True)
    click.echo(f"  code: {error.code}", err=True)
    click.echo(f"  what to do: {error.remedy}", err=True)
    return UNAVAILABLE if error.retryable else REFUSED


def report_os_error(error: OSError) -> int:
    """Print a file that is missing, unreadable or does not fit the disk; return its exit code."""
    _trace()
    where = f"{error.filename}: " if error.filename else ""
    click.echo(f"Error: {where}{error.strerror or error}", err=True)
    click.echo("  code: system", err=True)
    click.echo("  what to do: check the path, its permissions and the free space on its disk.", err=True)
    return REFUSED


def report_defect(error: Exception) -> int:
    """Print an error nobody foresaw; return its exit code."""
    _trace()
    click.echo(f"Error: {type(error).__name__}: {error}", err=True)
    click.echo("  code: internal", err=True)
    click.echo(f"  what to do: run it again with {DEBUG_VARIABLE}=1 and report what it prints.", err=True)
    return REFUSED


def _trace() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc(file=sys.stderr)
