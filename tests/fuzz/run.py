"""The loop: one input after the other, each bounded in time, all of them in memory; every input can be made again."""

from __future__ import annotations

import faulthandler
import random
import signal
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

Subject = Callable[[random.Random], str]
"""Makes one input of the random numbers, hands it to a reader, and returns how it went; raises where a rule breaks."""
INPUT_SECONDS = 10
"""No input may take more of the processor's time; that of the clock passes on a busy machine without our doing."""
_HUNG_SECONDS = 900
"""After so long by the clock (a deadlock, a thread or a call of C code that never ends) the process is ended, with a
traceback."""


@dataclass
class Report:
    """What came of a run."""

    seed: int
    seconds: float = 0.0
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By subject."""
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    """Processor's seconds of an input, and how to try it again."""

    @property
    def inputs(self) -> int:
        return sum(sum(counts.values()) for counts in self.outcomes.values())

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        for name, counts in self.outcomes.items():
            kinds = ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())
            yield f"{name:16} {sum(counts.values()):>9}  {kinds}"
        yield f"slowest input: {self.slowest[0]:.2f} s, {self.slowest[1]}"
        yield f"seed {self.seed}: {self.inputs} inputs in {self.seconds:.0f} s, {len(self.failures)} failures"


def fuzz(subjects: Mapping[str, Subject], seed: int, *, seconds: float, inputs: int) -> Report:
    """Give each subject its turn until the time or the inputs per subject are used up.

    Args:
        inputs: Per subject.
    """
    report = Report(seed)
    start = time.monotonic()
    turns = ((number, *subject) for number in range(inputs) for subject in subjects.items())
    for number, name, subject in turns:
        if time.monotonic() - start > seconds:
            break
        one(report, name, subject, number)
    report.seconds = time.monotonic() - start
    return report


def one(report: Report, name: str, subject: Subject, number: int) -> None:
    """Try one input; the same seed, name and number give the same input."""
    again = f"--seed {report.seed} --only {name!r} --replay {number}"
    start = time.process_time()
    try:
        with _bounded():
            outcome = subject(random.Random(f"{report.seed}/{name}/{number}"))
    except Exception as error:
        report.failures.append(f"{again}\n{traceback.format_exc()}")
        outcome = f"FAILED {type(error).__name__}"
    report.slowest = max(report.slowest, (time.process_time() - start, again))
    report.outcomes[name][outcome] += 1


@contextmanager
def _bounded() -> Iterator[None]:
    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"an input takes more than {INPUT_SECONDS} s")

    handler = signal.signal(signal.SIGPROF, too_long)
    timer = signal.setitimer(signal.ITIMER_PROF, INPUT_SECONDS)
    faulthandler.dump_traceback_later(_HUNG_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_PROF, *timer)
        signal.signal(signal.SIGPROF, handler)
