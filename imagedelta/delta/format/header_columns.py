"""Tar headers as columns: each field that is not as predicted goes to the stream of its kind.

A header is predicted by the header of the same path in the source, or by the header before it. Writer and reader
keep one state over all headers of a patch: the header before.
Not here: which header is the reference, and what becomes of a header that fits no columns (the caller carries it raw).

Source: docs/formats/patch.md, tar headers; POSIX.1-1988 (ustar).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple

from imagedelta import leb128
from imagedelta.delta.format import number_forms
from imagedelta.delta.format.tape import Tape
from imagedelta.delta.format.tar_walk import BLOCK
from imagedelta.errors import ContentError


class Column(IntEnum):
    """Which stream; the numbers are part of the format."""

    MASKS = 0
    """Per header, one number: which fields differ from the prediction."""
    NAME_PREFIXES = 1
    """How many first bytes a changed path keeps of the predicted one."""
    NAME_SUFFIXES = 2
    """How many last bytes it keeps; only when there is a reference."""
    NAMES = 3
    """The bytes between, ended by NUL."""
    MODES = 4
    OWNERS = 5
    SIZES = 6
    TIMES = 7
    TYPES = 8
    LINKS = 9
    """Link names: the bytes between, ended by NUL."""
    OTHERS = 10


class _Kind(IntEnum):
    RAW = 0
    """Any bytes."""
    NUMBER = 1
    """Digits in one of the forms of ``number_forms``."""
    TEXT = 2
    """Bytes up to the first NUL, then NULs alone."""
    PATH = 3
    """Text, coded as what it does not share with the prediction."""


class _Field(NamedTuple):
    start: int
    end: int
    kind: _Kind
    column: Column


# Bit n of a mask is field n. What changes most comes first, so that most masks are one byte.
_FIELDS = (
    _Field(0, 100, _Kind.PATH, Column.NAMES),
    _Field(124, 136, _Kind.NUMBER, Column.SIZES),
    _Field(136, 148, _Kind.NUMBER, Column.TIMES),
    _Field(157, 257, _Kind.PATH, Column.LINKS),
    _Field(100, 108, _Kind.NUMBER, Column.MODES),
    _Field(156, 157, _Kind.RAW, Column.TYPES),
    _Field(345, 500, _Kind.PATH, Column.NAMES),
    _Field(108, 116, _Kind.NUMBER, Column.OWNERS),
    _Field(116, 124, _Kind.NUMBER, Column.OWNERS),
    _Field(265, 297, _Kind.TEXT, Column.OTHERS),
    _Field(297, 329, _Kind.TEXT, Column.OTHERS),
    _Field(329, 337, _Kind.TEXT, Column.OTHERS),
    _Field(337, 345, _Kind.TEXT, Column.OTHERS),
    _Field(257, 265, _Kind.RAW, Column.OTHERS),
    _Field(500, 512, _Kind.RAW, Column.OTHERS),
)
_OWN_CHECKSUM = 1 << len(_FIELDS)
"""Mask bit: the checksum has the canonical form, though the prediction's has another or is wrong."""
_OWN_FORMS = _OWN_CHECKSUM << 1
"""Mask bit: the form of each number is stated, for one of them has another than the prediction's."""
_NUMBERS = sum(1 << number for number, field in enumerate(_FIELDS) if field.kind is _Kind.NUMBER)
_MASK_END = _OWN_FORMS << 1
_CHECKSUM = slice(148, 156)
_BLANK_SUM = 8 * ord(" ")
_OCTAL = frozenset(b"01234567")


def _canonical(total: int) -> bytes:
    return b"%06o\0 " % total


def _checksum(block: bytes | bytearray, form: bytes) -> bytes:
    """Return the checksum of a header, in the form of another checksum field; canonical if that form is unknown."""
    total = sum(block) - sum(block[_CHECKSUM]) + _BLANK_SUM
    if form[6:] == b" \0":
        return b"%06o \0" % total
    if form[7] == 0 and form[6] in _OCTAL:
        return b"%07o\0" % total
    return _canonical(total)


def _first_prediction() -> bytes:
    """Return what predicts the first header of a patch: an empty file of root."""
    block = bytearray(BLOCK)
    for start, value in (
        (100, b"0000644"),
        (108, b"0000000"),
        (116, b"0000000"),
        (124, b"00000000000"),
        (136, b"00000000000"),
        (156, b"0"),
        (257, b"ustar\x0000"),
        (329, b"0000000"),
        (337, b"0000000"),
    ):
        block[start : start + len(value)] = value
    block[_CHECKSUM] = _checksum(block, bytes(8))
    return bytes(block)


_FIRST = _first_prediction()
_TIME = slice(136, 148)


def _number(field: bytes) -> int:
    """Return the number that a field counts as; one that has no known form counts as 0."""
    found = number_forms.parse(field)
    return found[1] if found else 0


def _form(field: _Field, prediction: bytes) -> int:
    """Return the form that a number is expected to have: its prediction's, if that is known."""
    found = number_forms.parse(prediction[field.start : field.end])
    return found[0] if found else number_forms.CANONICAL


def _base(field: _Field, previous: bytes, reference: bytes | None) -> int:
    """Return the number that a number is coded against."""
    if field.column is Column.TIMES:
        return _number(previous[_TIME])
    if field.column is Column.SIZES and reference is None:
        return 0
    return _number((reference or previous)[field.start : field.end])


def _text(field: bytes) -> bytes | None:
    """Return a text without its padding; ``None`` if something follows the first NUL."""
    text = field.rstrip(b"\0")
    return None if b"\0" in text else text


def _common_prefix(one: bytes, other: bytes) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


class HeaderWriter:
    """Splits headers into columns; one writer for all headers of a patch."""

    def __init__(self, write: Callable[[Column, bytes], None]) -> None:
        """Args:
        write: Appends bytes to a column.
        """
        self._write = write
        self._previous = _FIRST

    def write(self, block: bytes, reference: bytes | None) -> bool:
        """Write one header.

        Args:
            block: The 512 bytes.
            reference: The header of a source member, 512 bytes; ``None`` if there is none.

        Returns:
            False if the header fits no columns: nothing was written and the state is as before.
        """
        prediction = reference or self._previous
        coded = self._coded(block, prediction, reference)
        if coded is None:
            return False
        for column, data in coded:
            self._write(column, data)
        self._previous = block
        return True

    def _coded(self, block: bytes, prediction: bytes, reference: bytes | None) -> list[tuple[Column, bytes]] | None:
        if block == prediction:
            return [(Column.MASKS, b"\0")]
        mask = sum(
            1 << number
            for number, field in enumerate(_FIELDS)
            if block[field.start : field.end] != prediction[field.start : field.end]
        )
        fields = _fields_of(mask)
        if not all(_has_form(field, block, prediction) for field in fields):
            mask |= _OWN_FORMS
        coded: list[tuple[Column, bytes]] = []
        for field in fields:
            values = self._value(field, block, prediction, reference, own_form=bool(mask & _OWN_FORMS))
            if values is None:
                return None
            coded += values
        checksum = block[_CHECKSUM]
        if not mask or checksum != _checksum(block, prediction[_CHECKSUM]):
            if checksum != _checksum(block, bytes(8)):
                return None
            mask |= _OWN_CHECKSUM
        return [(Column.MASKS, leb128.encode(mask)), *coded]

    def _value(
        self, field: _Field, block: bytes, prediction: bytes, reference: bytes | None, *, own_form: bool
    ) -> list[tuple[Column, bytes]] | None:
        """Return what goes to which column, in order; ``None`` if the field fits none."""
        raw = block[field.start : field.end]
        if field.kind is _Kind.RAW:
            return [(field.column, raw)]
        if field.kind is _Kind.NUMBER:
            found = number_forms.parse(raw)
            if found is None:
                return None
            form, value = found
            difference = leb128.zigzag(value - _base(field, self._previous, reference))
            stated = [(Column.OTHERS, bytes([form]))] if own_form else []
            return [*stated, (field.column, leb128.encode(difference))]
        text = _text(raw)
        if text is None:
            return None
        if field.kind is _Kind.TEXT:
            return [(field.column, text + b"\0")]
        return _path(field.column, text, _predicted_path(field, prediction), reference is not None)


def _fields_of(mask: int) -> list[_Field]:
    return [field for number, field in enumerate(_FIELDS) if mask >> number & 1]


def _has_form(field: _Field, block: bytes, prediction: bytes) -> bool:
    """Whether a field, if it is a number, has the form that its prediction has."""
    if field.kind is not _Kind.NUMBER:
        return True
    raw = block[field.start : field.end]
    return number_forms.write(_form(field, prediction), _number(raw), len(raw)) == raw


def _predicted_path(field: _Field, prediction: bytes) -> bytes:
    return prediction[field.start : field.end].partition(b"\0")[0]


def _path(column: Column, text: bytes, predicted: bytes, suffixes: bool) -> list[tuple[Column, bytes]]:
    prefix = _common_prefix(text, predicted)
    coded = [(Column.NAME_PREFIXES, leb128.encode(prefix))]
    end = len(text)
    if suffixes:
        suffix = _common_prefix(text[prefix:][::-1], predicted[prefix:][::-1])
        coded.append((Column.NAME_SUFFIXES, leb128.encode(suffix)))
        end -= suffix
    return [*coded, (column, text[prefix:end] + b"\0")]


class HeaderReader:
    """Makes the headers again; one reader for all headers of a patch."""

    def __init__(self, tapes: Mapping[Column, Tape]) -> None:
        self._tapes = tapes
        self._masks = tapes[Column.MASKS]
        self._previous = _FIRST

    def read(self, reference: bytes | None) -> bytes:
        """Return the next header, 512 bytes.

        Args:
            reference: What the writer was given, 512 bytes or ``None``.

        Raises:
            ContentError: The columns hold a value that does not fit its field.
        """
        prediction = reference or self._previous
        mask = self._masks.number()
        if mask:
            prediction = self._changed(mask, prediction, reference)
        self._previous = prediction
        return prediction

    def _changed(self, mask: int, prediction: bytes, reference: bytes | None) -> bytes:
        if mask >= _MASK_END or (mask & _OWN_FORMS and not mask & _NUMBERS):
            raise ContentError(f"a tar header's mask {mask:#x} names unknown fields, or forms of no number")
        block = bytearray(prediction)
        for field in _fields_of(mask):
            own_form = bool(mask & _OWN_FORMS)
            block[field.start : field.end] = self._value(field, prediction, reference, own_form=own_form)
        block[_CHECKSUM] = _checksum(block, bytes(8) if mask & _OWN_CHECKSUM else prediction[_CHECKSUM])
        return bytes(block)

    def _value(self, field: _Field, prediction: bytes, reference: bytes | None, *, own_form: bool) -> bytes:
        width = field.end - field.start
        tape = self._tapes[field.column]
        if field.kind is _Kind.RAW:
            return tape.read(width)
        if field.kind is _Kind.NUMBER:
            form = self._tapes[Column.OTHERS].read(1)[0] if own_form else _form(field, prediction)
            value = tape.signed() + _base(field, self._previous, reference)
            written = number_forms.write(form, value, width)
            if written is None:
                raise ContentError(f"number {value} in form {form} does not fit {width} bytes of a tar header")
            return written
        if field.kind is _Kind.TEXT:
            return _until_nul(tape, width).ljust(width, b"\0")
        return self._path(field, _predicted_path(field, prediction), reference is not None).ljust(width, b"\0")

    def _path(self, field: _Field, predicted: bytes, suffixes: bool) -> bytes:
        prefix = self._tapes[Column.NAME_PREFIXES].number()
        suffix = self._tapes[Column.NAME_SUFFIXES].number() if suffixes else 0
        room = field.end - field.start - prefix - suffix
        if prefix + suffix > len(predicted) or room < 0:
            raise ContentError(f"a path keeps {prefix} and {suffix} bytes of one that has {len(predicted)}")
        middle = _until_nul(self._tapes[field.column], room)
        return predicted[:prefix] + middle + predicted[len(predicted) - suffix :]


def _until_nul(tape: Tape, room: int) -> bytes:
    """Read a text of at most ``room`` bytes and the NUL that ends it."""
    text = bytearray()
    while (byte := tape.read(1)) != b"\0":
        text += byte
        if len(text) > room:
            raise ContentError(f"a text is longer than the {room} bytes that a tar header has for it")
    return bytes(text)
