"""Tar headers go to columns and come back, cheaply where they are as predicted; what does not fit is refused."""

from __future__ import annotations

import pytest

from imagedelta import leb128
from imagedelta.delta.format.header_columns import Column
from imagedelta.errors import ContentError
from tests.unit.delta.header_tapes import a_header, joined, patched, reader_of, split, with_checksum

NAME, SIZE, TIME, OWN_CHECKSUM = 1 << 0, 1 << 1, 1 << 2, 1 << 15


def used(columns):
    return {column: data for column, data in columns.items() if data}


def test_a_header_equal_to_its_reference_costs_one_zero_byte():
    columns, taken = split((a_header(), a_header()))

    assert (used(columns), taken) == ({Column.MASKS: b"\0"}, [True])
    assert joined(columns, [a_header()]) == [a_header()]


def test_a_reference_of_any_bytes_is_repeated_as_it_is():
    reference = bytes(range(256)) * 2

    columns, _ = split((reference, reference))

    assert joined(columns, [reference]) == [reference]


def test_a_renamed_folder_costs_the_bytes_that_changed():
    old, new = a_header("lib/python3.11/x.py"), a_header("lib/python3.12/x.py")

    columns, _ = split((new, old))

    assert used(columns) == {
        Column.MASKS: bytes([NAME]),
        Column.NAME_PREFIXES: bytes([len("lib/python3.1")]),
        Column.NAME_SUFFIXES: bytes([len("/x.py")]),
        Column.NAMES: b"2\0",
    }
    assert joined(columns, [old]) == [new]


def test_a_repeated_letter_is_not_kept_twice():
    old, new = a_header("aa"), a_header("aaa")

    columns, _ = split((new, old))

    assert joined(columns, [old]) == [new]


def test_times_count_from_the_header_before():
    old = a_header(mtime=5)
    first, second = a_header(mtime=1000), a_header(mtime=1001)

    columns, _ = split((first, old), (second, old))

    assert columns[Column.TIMES] == leb128.encode(2000) + leb128.encode(2)
    assert joined(columns, [old, old]) == [first, second]


def test_a_size_counts_from_the_reference_and_without_one_from_nothing():
    old = a_header(size=100)

    columns, _ = split((a_header(size=99), old), (a_header(size=7), None))

    assert columns[Column.SIZES] == leb128.encode(1) + leb128.encode(14)
    assert joined(columns, [old, None]) == [a_header(size=99), a_header(size=7)]


def test_the_header_before_predicts_one_without_a_reference():
    headers = [a_header(f"etc/{name}", mtime=9, uname="root") for name in ("passwd", "passwd-", "shadow")]

    columns, _ = split(*((header, None) for header in headers))

    assert columns[Column.MASKS][-2:] == bytes([NAME, NAME])
    assert joined(columns, [None] * 3) == headers


def test_every_field_can_change():
    old = a_header()
    new = a_header(
        "d" * 120 + "/" + "n" * 100,
        mode=0o4755,
        uid=1,
        gid=2,
        size=3,
        mtime=4,
        type=b"3",
        linkname="l" * 100,
        uname="u" * 31,
        gname="g",
        devmajor=8,
        devminor=1,
    )
    new = patched(patched(new, 257, b"ustar  \0"), 500, b"any \0 bytes!")

    columns, taken = split((new, old), (new, None), (old, None))

    assert taken == [True, True, True]
    assert joined(columns, [old, None, None]) == [new, new, old]


@pytest.mark.parametrize("form", ["%06o \0", "%07o\0"])
def test_a_checksum_in_another_form_is_taken_where_the_reference_has_it(form):
    old, new = with_checksum(a_header(), form), with_checksum(a_header(size=8), form)

    columns, taken = split((new, old))

    assert taken == [True]
    assert joined(columns, [old]) == [new]
    assert split((new, a_header()))[1] == [False]


@pytest.mark.parametrize("form", ["%06o \0", "%07o\0"])
def test_a_canonical_checksum_is_taken_whatever_form_the_reference_has(form):
    old = with_checksum(a_header(), form)

    columns, taken = split((a_header(), old))

    assert (used(columns), taken) == ({Column.MASKS: leb128.encode(OWN_CHECKSUM)}, [True])
    assert joined(columns, [old]) == [a_header()]


REFUSED = {
    "a wrong checksum": a_header()[:148] + b"000000\0 " + a_header()[156:],
    "a negative time": patched(a_header(), 136, b"\xff" * 12),
    "a number of spaces": patched(a_header(), 100, b"       \0"),
    "a number with a letter in it": patched(a_header(), 136, b"0000000x000\0"),
    "bytes behind the end of the name": patched(a_header(), 0, b"usr\0bin"),
    "bytes behind the end of the user": patched(a_header(), 265, b"a\0b"),
}


@pytest.mark.parametrize("block", REFUSED.values(), ids=REFUSED.keys())
def test_a_header_that_fits_no_columns_leaves_no_trace(block):
    columns, taken = split((block, None), (a_header(mtime=1), None))

    assert taken == [False, True]
    assert columns == split((a_header(mtime=1), None))[0]


def test_an_odd_number_is_taken_where_the_reference_has_it():
    old = patched(a_header(), 124, b"\x80" + bytes(10) + b"\1")
    new = patched(old, 136, b"00000000007\0")

    columns, taken = split((new, old))

    assert taken == [True]
    assert joined(columns, [old]) == [new]


OWN_FORMS = 1 << 16
FORMS = {
    "bsdtar": ("%06o \0", "%011o "),
    "GNU tar": ("%07o\0", "%011o\0"),
    "all digits": ("%08o", "%012o"),
    "a space behind": ("%07o ", "%011o "),
    "spaces before": ("%7o\0", "%11o\0"),
    "spaces before and behind": ("%6o \0", "%11o "),
}


def in_form(form: str, name: str, mtime: int, size: int = 9) -> bytes:
    """Return a header with its numbers in a form."""
    short, long = FORMS[form]
    block = a_header(name)
    values = ((100, short, 0o644), (108, short, 0), (116, short, 8), (124, long, size), (136, long, mtime))
    for at, field, value in values:
        block = patched(block, at, (field % value).encode())
    return block


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_any_form_cost_what_they_cost_in_the_usual_one(form):
    old = [(in_form(form, name, 1_600_000_000), None) for name in ("a", "b", "c")]
    new = [(in_form(form, name, 1_700_000_000), block) for name, (block, _) in zip("abc", old, strict=True)]

    columns, taken = split(*old, *new)

    assert all(taken)
    assert columns[Column.MASKS][-5:] == bytes([NAME, NAME, TIME, TIME, TIME])
    assert joined(columns, [reference for _, reference in (*old, *new)]) == [block for block, _ in (*old, *new)]


def test_the_form_of_numbers_is_stated_where_the_tool_changed():
    gnu, bsd = in_form("GNU tar", "a", 7), in_form("bsdtar", "a", 7)

    columns, taken = split((gnu, bsd), (bsd, gnu), (gnu, None))

    assert taken == [True, True, True]
    assert columns[Column.OTHERS] == bytes([0] * 5 + [1, 1, 2, 2, 2] + [0] * 5)
    assert joined(columns, [bsd, gnu, None]) == [gnu, bsd, gnu]


def test_sizes_over_eight_gibibytes_in_base_256_are_numbers():
    small = a_header(size=8)
    large = patched(small, 124, b"\x80" + (9 << 30).to_bytes(11, "big"))
    larger = patched(small, 124, b"\x80" + (10 << 30).to_bytes(11, "big"))

    columns, taken = split((large, small), (larger, large))

    assert taken == [True, True]
    assert columns[Column.OTHERS] == b"\x08"
    assert joined(columns, [small, large]) == [large, larger]


HOSTILE = {
    "a mask of unknown fields": {Column.MASKS: leb128.encode(1 << 17)},
    "forms of no number": {Column.MASKS: leb128.encode(OWN_FORMS | NAME)},
    "an unknown form": {
        Column.MASKS: leb128.encode(OWN_FORMS | SIZE),
        Column.OTHERS: b"\x09",
        Column.SIZES: b"\0",
    },
    "a size of 2^63 in base 256": {
        Column.MASKS: leb128.encode(OWN_FORMS | SIZE),
        Column.OTHERS: b"\x08",
        Column.SIZES: leb128.encode(1 << 64),
    },
    "a negative size": {Column.MASKS: bytes([SIZE]), Column.SIZES: b"\1"},
    "a size of 2^33": {Column.MASKS: bytes([SIZE]), Column.SIZES: leb128.encode(1 << 34)},
    "more of the name kept than it has": {
        Column.MASKS: bytes([NAME]),
        Column.NAME_PREFIXES: b"\5",
        Column.NAME_SUFFIXES: b"\5",
        Column.NAMES: b"\0",
    },
    "a name of 101 bytes": {
        Column.MASKS: bytes([NAME]),
        Column.NAME_PREFIXES: b"\1",
        Column.NAME_SUFFIXES: b"\0",
        Column.NAMES: b"n" * 100 + b"\0",
    },
    "a user of 33 bytes": {Column.MASKS: leb128.encode(1 << 9), Column.OTHERS: b"u" * 33 + b"\0"},
    "a name without an end": {
        Column.MASKS: bytes([NAME]),
        Column.NAME_PREFIXES: b"\0",
        Column.NAME_SUFFIXES: b"\0",
        Column.NAMES: b"n",
    },
    "no mask": {},
}


@pytest.mark.parametrize("columns", HOSTILE.values(), ids=HOSTILE.keys())
def test_columns_that_make_no_header_are_refused(columns):
    reader, _ = reader_of({column: columns.get(column, b"") for column in Column})

    with pytest.raises(ContentError):
        reader.read(a_header("usr/bin/x"))
