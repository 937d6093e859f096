"""The process that rebuilds one image: ``python -m edge_module rebuild``, started by edge_module.rebuild_process.

It takes its task from stdin and answers on stdout (edge_module.rebuild_lines). It is the last in line for CPU and disk,
allocates no more than it was given, and ends with its parent (edge_module.background). Killed at any instant, it leaves
what a power cut leaves.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from edge_module.background import take_at_most, take_what_there_is
from edge_module.engines import PresentImage
from edge_module.rebuild_lines import Answer, Begun, Failed, Rebuilt, answer_line, read_task
from edge_module.rebuilds import Rebuilds, RebuildTask
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError

log = logging.getLogger("imagedelta.rebuild")


def serve(rebuilds: Rebuilds, tasks: BinaryIO, answers: BinaryIO) -> None:
    """Do the one task that ``tasks`` holds, and answer."""

    def answer(what: Answer) -> None:
        answers.write(answer_line(what))
        answers.flush()

    answer(_judged(rebuilds, read_task(tasks.readline()), lambda: answer(Begun())))


def serve_stdio(rebuilds: Rebuilds) -> None:
    """What any library prints goes to the log from here on, so that only answers are answers."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(rebuilds, sys.stdin.buffer, answers)


def _judged(rebuilds: Rebuilds, task: RebuildTask, begun: Callable[[], None]) -> Rebuilt | Failed:
    """The image, or an error that is the bundle's only if it is no want of memory or of a disk."""
    try:
        return Rebuilt(_rebuilt(rebuilds, task, begun))
    except ImageDeltaError as error:
        return Failed(error)
    except MemoryError:
        limit = f"more than {task.memory_bytes} bytes of memory were needed"
        return Failed(DependencyError(limit, code="rebuild.memory"))
    except OSError as error:
        return Failed(DependencyError(f"reading failed: {error}", code="disk.failing"))
    except Exception as error:
        log.exception("rebuilding %s failed in a way nobody foresaw", task.head.target_image_id)
        return Failed(ImageDeltaError(f"{type(error).__name__}: {error}"))


def _rebuilt(rebuilds: Rebuilds, task: RebuildTask, begun: Callable[[], None]) -> PresentImage:
    """Within the limit; content that seems wrong is looked at again without it.

    Some decoders call a stream damaged when they get no memory for it (Brotli, zstd). What is finished stays, so the
    second look begins at the layer that failed.
    """
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        has_begun = True
        begun()

    take_at_most(task.memory_bytes)
    try:
        return rebuilds.rebuild(task, begin)
    except ContentError as error:
        log.info("%s (%s): looked at again without the limit of memory", error, error.code)
        take_what_there_is()
        return rebuilds.rebuild(task, lambda: None if has_begun else begun())
