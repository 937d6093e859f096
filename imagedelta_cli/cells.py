"""What stands in the columns of tables, as people read it: ids, names, sizes, times, sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imagedelta_cli.tables import Cell, Fit

_IMAGE_DIGITS = 12
"""Of an image ID, as Docker shows it; commands take these where they take an image ID."""


def field(name: str) -> Cell:
    """A word or a few; cut where there is no room."""
    return Cell(lambda item: item[name])


def ident(name: str) -> Cell:
    """An id, which is never cut: people copy it into the next command."""
    return Cell(lambda item: item[name], Fit.WHOLE)


def word(name: str) -> Cell:
    """One of a few known words, such as a state: short, and never cut."""
    return Cell(lambda item: item[name], Fit.WHOLE)


def sentence(name: str) -> Cell:
    """A reason or remark: on lines of its own below the row."""
    return Cell(lambda item: item[name], Fit.BELOW)


def image(name: str = "imageId") -> Cell:
    """An image ID as people read it: the first 12 digits."""
    return Cell(lambda item: image_text(item[name]), Fit.WHOLE)


def size(name: str) -> Cell:
    """Bytes in the largest unit that fits."""
    return counted(name, bytes_text)


def when(name: str) -> Cell:
    """A time of the interface as people read it: UTC, to the second."""
    return counted(name, lambda time: str(time)[:19].replace("T", " "))


def counted(name: str, words: Callable[[Any], object]) -> Cell:
    """A number or time in ``words``, never cut, because half of one is another one; unknown stays unknown."""
    return Cell(lambda item: None if item[name] is None else words(item[name]), Fit.WHOLE)


def image_text(image_id: object) -> object:
    """The first 12 digits of an image ID; anything else as it is."""
    text = str(image_id)
    return text[7 : 7 + _IMAGE_DIGITS] if text.startswith("sha256:") else image_id


def duration_text(hours: float | None) -> str | None:
    """``42 s``, ``12 min`` or ``3.5 h``."""
    if hours is None:
        return None
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{hours:.1f} h"


def bytes_text(count: float) -> str:
    """``999 B``, ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes everything")
