"""What a rebuild in a child process and its parent say to each other: one JSON object a line, on pipes.

The parent writes one task. The child answers ``begun`` at most once and then ``done`` or ``failed``; a child that is
killed says nothing more. Both are the same version of the same program, yet the parent believes no length and no type:
a child that the kernel ends in the middle of a line must not take its parent with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from edge_module.engines import EngineDamaged, ImageName, LayersGone, PresentImage
from edge_module.rebuilds import RebuildTask
from imagedelta import errors
from imagedelta.bundles import head_from_bytes
from imagedelta.errors import DependencyError, ImageDeltaError

MAX_LINE_BYTES = 4 * 1024 * 1024
"""Of 10,000 names with the longest allowed text, and a detail of any error."""
_MAX_DETAIL = 4000
_CLASSES: dict[str, type[ImageDeltaError]] = {
    each.__name__: each
    for each in (
        errors.ImageDeltaError,
        errors.RequestError,
        errors.ContentError,
        errors.Truncated,
        errors.LimitExceeded,
        errors.DigestMismatch,
        errors.UnsafePath,
        errors.UnsupportedFormat,
        errors.SourceMissing,
        errors.SealError,
        errors.DependencyError,
        EngineDamaged,
        LayersGone,
    )
}


@dataclass(frozen=True)
class Begun:
    """Everything was found fit; now bytes are written."""


@dataclass(frozen=True)
class Rebuilt:
    image: PresentImage


@dataclass(frozen=True)
class Failed:
    error: ImageDeltaError


Answer = Begun | Rebuilt | Failed


def task_line(task: RebuildTask) -> bytes:
    head = task.head.to_bytes().decode()
    return _line(bundle=task.bundle, head=head, reference=task.reference, memory=task.memory_bytes)


def read_task(line: bytes) -> RebuildTask:
    told = json.loads(line)
    return RebuildTask(told["bundle"], head_from_bytes(told["head"].encode()), told["reference"], told["memory"])


def answer_line(answer: Answer) -> bytes:
    match answer:
        case Begun():
            return _line(say="begun")
        case Rebuilt(image):
            names = [[name.reference, name.digest] for name in image.names]
            return _line(say="done", image=image.image_id, layers=image.diff_ids, names=names)
        case Failed(error):
            return _line(
                say="failed",
                kind=_kind_of(error),
                code=error.code,
                detail=str(error)[:_MAX_DETAIL],
                retryAfter=_seconds(error),
            )


def read_answer(line: bytes) -> Answer | None:
    """None: this is no answer, so something else wrote it, or it was cut."""
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        return None
    try:
        return _answer(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _answer(told: dict[str, Any]) -> Answer:
    match told["say"]:
        case "begun":
            return Begun()
        case "done":
            names = tuple(ImageName(_text(name), _text_or_none(digest)) for name, digest in told["names"])
            return Rebuilt(PresentImage(_text(told["image"]), tuple(map(_text, told["layers"])), names))
        case "failed":
            return Failed(_error(told))
    raise ValueError("no such word")


def _error(told: dict[str, Any]) -> ImageDeltaError:
    kind, code, detail = _CLASSES[told["kind"]], _text(told["code"]), _text(told["detail"])
    if issubclass(kind, DependencyError):
        after = told["retryAfter"]
        return kind(detail, code=code, retry_after=None if after is None else timedelta(seconds=float(after)))
    return kind(detail, code=code)


def _kind_of(error: ImageDeltaError) -> str:
    """The nearest class that the other side knows."""
    return next(each.__name__ for each in type(error).__mro__ if each.__name__ in _CLASSES)


def _seconds(error: ImageDeltaError) -> float | None:
    after = error.retry_after if isinstance(error, DependencyError) else None
    return None if after is None else after.total_seconds()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"
