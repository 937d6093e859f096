"""How tar headers write numbers: octal digits with what stands before and behind them, or base 256.

GNU tar, Docker and Go end a field's digits with a zero byte, bsdtar with a space or with both, older tools pad with
spaces. A number is coded by its value and, where it is not the one expected, its form.

Source: docs/formats/patch.md, section 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from imagedelta.octal import octal

_BASE_256 = 0x80


class _Form(NamedTuple):
    parse: Callable[[bytes], int | None]
    """The number of a field; ``None`` if the field may have another form."""
    write: Callable[[int, int], bytes | None]
    """The field of a number and a width; ``None`` if the number does not fit."""


def _digits(padding: bytes, tail: bytes) -> _Form:
    def parse(field: bytes) -> int | None:
        return octal(field[: len(field) - len(tail)].lstrip(b" "))

    def write(value: int, width: int) -> bytes | None:
        room = width - len(tail)
        return (b"%o" % value).rjust(room, padding) + tail if 0 <= value < 8**room else None

    return _Form(parse, write)


def _base_256() -> _Form:
    def parse(field: bytes) -> int | None:
        return int.from_bytes(field[1:], "big") if field[0] == _BASE_256 else None

    def write(value: int, width: int) -> bytes | None:
        fits = 0 <= value < 1 << min(63, 8 * (width - 1))
        return bytes([_BASE_256]) + value.to_bytes(width - 1, "big") if fits else None

    return _Form(parse, write)


_TAILS = (b"\0", b" ", b" \0", b"")
FORMS = (*(_digits(padding, tail) for padding in (b"0", b" ") for tail in _TAILS), _base_256())
"""Numbered from 0, as the format counts them."""
CANONICAL = 0


def parse(field: bytes) -> tuple[int, int] | None:
    """Return the first form that has this very field, and its number; ``None`` if there is none."""
    for number, form in enumerate(FORMS):
        value = form.parse(field)
        if value is not None and form.write(value, len(field)) == field:
            return number, value
    return None


def write(form: int, value: int, width: int) -> bytes | None:
    """Return the field of a number; ``None`` if it does not fit that form, or there is no such form."""
    return FORMS[form].write(value, width) if form < len(FORMS) else None
