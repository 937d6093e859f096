"""One line of the doctor's report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from imagedelta.errors import ImageDeltaError
from imagedelta_cli.output import progress


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Works, but not for everything, or not for long."""
    FAILED = "failed"
    NOT_CONFIGURED = "not configured"
    """Nothing says that it is wanted here."""


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    state: State
    found: str
    remedy: str = ""
    """What to do; "" when there is nothing to do."""


def guarded(check: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Run a check; whatever it raises is a finding too."""
    try:
        with progress(f"Checking {check}"):
            return list(look())
    except ImageDeltaError as error:
        return [Finding(check, State.FAILED, str(error), error.remedy)]
    except Exception as error:
        found = f"{type(error).__name__}: {first_line(error)}"
        return [Finding(check, State.FAILED, found, "Read the message; run with IMAGEDELTA_DEBUG=1 and report it.")]


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
