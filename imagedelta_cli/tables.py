"""Tables for people: one line per row, also where it is narrow.

A pipe or file gets every cell whole. On a terminal the widest column gives way first, and cells that are too long end
in an ellipsis; ids never do, so that they can be copied. What does not fit even then is left out from the right, and a
last line says so. Sentences stand below their row.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from rich.cells import cell_len, set_cell_size

from imagedelta.printable import printable

_GAP = 2
_LEAST = 8
"""Columns that a cell keeps when it is cut."""


class Fit(Enum):
    """How a cell gives way where there is no room."""

    CUT = auto()
    WHOLE = auto()
    """Ids: never cut."""
    BELOW = auto()
    """Sentences: on lines of their own below the row; in a pipe the last column."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What of an item stands in a column."""

    value: Callable[[Mapping[str, Any]], object]
    fit: Fit = Fit.CUT


Column = tuple[str, Cell]
"""Heading, and what of an item stands below it."""


def table_lines(items: Sequence[Mapping[str, Any]], columns: Sequence[Column], room: int | None) -> Iterator[str]:
    """Yield the heading and the lines of a table.

    Args:
        room: Columns of the terminal; ``None`` where lines may have any length.
    """
    below = [cell for _, cell in columns if cell.fit is Fit.BELOW]
    beside = [column for column in columns if column[1].fit is not Fit.BELOW]
    if room is None:
        below, beside = [], beside + [column for column in columns if column[1].fit is Fit.BELOW]
    headings = [heading for heading, _ in beside]
    rows = [[printable(text_of(cell.value(item))) for _, cell in beside] for item in items]
    natural = [max(map(cell_len, texts)) for texts in zip(headings, *rows, strict=True)]
    widths = natural if room is None else _shared(natural, [cell.fit for _, cell in beside], room)
    yield _line(headings, widths)
    for item, row in zip(items, rows, strict=True):
        yield _line(row, widths)
        for cell in below:
            yield from _sentence(cell.value(item), room or 0)
    if len(widths) < len(headings):
        yield ""
        yield from textwrap.wrap(
            f"No room for {', '.join(headings[len(widths) :])}: use a wider window or a pipe.", room or 0
        )


def text_of(value: object) -> str:
    """A value as people read it."""
    if value in _NOTHING:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value))
    return str(value)


_NOTHING: tuple[object, ...] = (None, "", [], {}, ())


def _sentence(value: object, room: int) -> Iterator[str]:
    if value not in _NOTHING:
        text = printable(text_of(value))
        yield from textwrap.wrap(
            text, room, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
        )


def _shared(natural: Sequence[int], fits: Sequence[Fit], room: int) -> list[int]:
    """Widths that fit into ``room``; fewer than there are columns when the last ones do not."""
    least = [width if fit is Fit.WHOLE else min(width, _LEAST) for width, fit in zip(natural, fits, strict=True)]
    shown = len(least)
    while shown > 1 and _total(least[:shown]) > room:
        shown -= 1
    widths = list(natural[:shown])
    while _total(widths) > room and (able := [n for n in range(shown) if widths[n] > least[n]]):
        widths[max(able, key=widths.__getitem__)] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The first cells side by side, as many as there are widths."""
    return (" " * _GAP).join(_sized(text, width) for text, width in zip(cells, widths, strict=False)).rstrip()


def _sized(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
