"""References in data and tables that are predicted in C are those that Python predicts, on any bytes."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Callable

import imagedelta_native
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.predict import data_numbers, elf_records
from imagedelta.delta.predict.data_numbers import Numbers
from imagedelta.delta.predict.elf_records import BEYOND, FRAME, FrameSite, Moves
from imagedelta.delta.predict.steps import NOWHERE, Steps

SIZE = 0x8000
AT = 0x400000
"""Address of what is at place 0."""
NUMBERS = st.sampled_from(
    [0, 1, 8, 37, 0x201, 0x4000, AT, AT + 0x7000, AT - 1, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
) | st.integers(0, (1 << 32) - 1)  # fmt: skip
LONGS = NUMBERS | st.sampled_from([1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]) | st.integers(0, (1 << 64) - 1)
BYTES = st.binary(max_size=100) | st.lists(NUMBERS, max_size=25).map(lambda all: struct.pack(f"<{len(all)}I", *all))
ADDRESSES = st.sampled_from([0, AT, BEYOND, BEYOND - 1, (1 << 62) - 1])


def some_steps(rnd: random.Random, start: int, end: int, *, everywhere: bool = False) -> Steps:
    """Of what moves in between, with gaps that are nowhere."""
    starts = sorted({start, *rnd.choices(range(start, end), k=20)})
    nowhere = [] if everywhere else [NOWHERE, NOWHERE]
    values = [rnd.choice([*nowhere, 0, 16, -32, rnd.randint(-(1 << 40), 1 << 40)]) for _ in starts]
    return Steps(array("q", starts), array("q", [*values[:-1], values[-1] if everywhere else NOWHERE]))


def some_moves(seed: int) -> Moves:
    rnd = random.Random(seed)
    offsets = Steps(
        array("q", [AT, AT + 0x4000, AT + 0x5000, AT + 0x9000]), array("q", [-AT, NOWHERE, 8 - AT, NOWHERE])
    )
    return Moves(some_steps(rnd, 0, SIZE, everywhere=True), offsets, some_steps(rnd, AT, AT + SIZE))


def both(modules: tuple[object, object], name: str, old: bytes, *how: object, **named: object) -> tuple[object, bytes]:
    """What a function of either module returns and writes: the same."""
    made = []
    for module in modules:
        out = bytearray(old)
        function: Callable[..., object] = getattr(module, name)
        made.append((function(*[out if one is OUT else one for one in how], **named), bytes(out)))
    assert made[0] == made[1]
    return made[0]


OUT = object()
RECORDS, DATA = (elf_records, imagedelta_native), (data_numbers, imagedelta_native)


def some_part(records: bytes, first: int, last: int) -> tuple[bytes, int]:
    """A part of some records, and how many bytes are before it."""
    before = min(first, len(records))
    return records[before : max(before, len(records) - last)], before


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "form", [(4, 0x201, 1 << 32), (8, 0x201, AT + SIZE), (4, -1 << 31, 1 << 31, AT, AT + 5), (4, 0, 1 << 32)]
)
def test_numbers_that_are_addresses_are_those_of_python(seed: int, form: tuple[int, ...]) -> None:
    rnd, width = random.Random(seed), form[0]
    numbers = [rnd.choice([0, 3, AT, rnd.randrange(2 * SIZE), AT + rnd.randrange(SIZE)]) for _ in range(5000)]
    data = b"".join(number.to_bytes(width, "little") for number in numbers)
    for skip in range(width):
        places, _ = both(DATA, "predict_addresses", data, data, OUT, skip, Numbers(*form), *some_moves(seed).addresses)
        assert skip or len(places) > 100


@settings(max_examples=300)
@given(
    BYTES,
    st.integers(0, 7),
    st.sampled_from([4, 8]),
    st.sampled_from([-1 << 31, 0, 513]),
    ADDRESSES,
    st.integers(0, (1 << 32) - 1),
)
def test_numbers_of_any_bytes_are_those_of_python(
    data: bytes, skip: int, width: int, low: int, base: int, new_base: int
) -> None:
    form = Numbers(width, low, (1 << 62 if width == 8 else 1 << 31), base, new_base)

    both(DATA, "predict_addresses", data, data, OUT, skip, form, *some_moves(1).addresses)


@settings(max_examples=300)
@given(BYTES, st.integers(0, 3), st.integers(-SIZE, 2 * SIZE), st.integers(-(1 << 62), 1 << 62))
def test_distances_of_any_bytes_are_those_of_python(data: bytes, skip: int, place: int, same: int) -> None:
    moves = some_moves(2)
    code = Steps(array("q", [AT + 100, AT + 0x3000, AT + 0x5000, AT + 0x7000]), array("q", [0, NOWHERE, 0, NOWHERE]))

    both(DATA, "predict_distances", data, data, OUT, skip, (AT + place, same), code, moves.addresses)


def test_distances_to_code_are_those_of_python() -> None:
    rnd = random.Random(3)
    data = b"\0\0" + struct.pack("<5000i", *(rnd.randint(-SIZE, SIZE) for _ in range(5000)))
    code = Steps(array("q", [AT, AT + 0x3000, AT + 0x5000, AT + 0x7000]), array("q", [0, NOWHERE, 0, NOWHERE]))

    places, _ = both(DATA, "predict_distances", data, data, OUT, 2, (AT + 0x1002, 7), code, some_moves(3).addresses)
    assert len(places) > 100


@settings(max_examples=300)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, LONGS, LONGS), max_size=6), st.integers(0, 23), st.integers(0, 23),
    st.sampled_from([0, 100, SIZE, BEYOND]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_symbols_and_relocations_of_any_numbers_are_those_of_python(
    numbers: list[tuple[int, int, int, int]], first: int, last: int, names_at: int, with_sizes: bool, seed: int
) -> None:
    moves = some_moves(seed)
    symbols = b"".join(struct.pack("<IIQQ", *one) for one in numbers)
    relocations = b"".join(struct.pack("<QIIQ", one[2], one[0], one[1], one[3]) for one in numbers)

    old, before = some_part(symbols, first, last)
    both(RECORDS, "predict_symbols", old, symbols, OUT, before, names_at, moves, with_sizes=with_sizes)
    old, before = some_part(relocations, first, last)
    both(RECORDS, "predict_relocations", old, relocations, OUT, before, moves.addresses)


def some_frames(rnd: random.Random, count: int) -> bytes:
    """Frames of all forms, a third of them shorter than what is read of one."""
    made = bytearray()
    for _ in range(count):
        length = rnd.choice([1, 7, 16, 17, 20, 20, 20, 36, 1000])
        back = rnd.choice([0, 4, len(made) + 4, rnd.randrange(1 << 12), rnd.randrange(1 << 32)])
        begins, handlers = rnd.randint(-SIZE, SIZE), rnd.choice([0, rnd.randint(-SIZE, SIZE)])
        frame = FRAME.pack(length, back, begins, rnd.choice([0, 5, SIZE]), rnd.choice([0, 4]), handlers)
        made += frame.ljust(length + 4, b"\3")[: length + 4]
    return bytes(made)


@pytest.mark.parametrize("seed", range(30))
def test_frames_of_all_forms_are_those_of_python(seed: int) -> None:
    rnd = random.Random(seed)
    records = some_frames(rnd, 300) + rnd.choice([bytes(4), b"\xff\xff\xff\xff", b""]) + bytes(FRAME.size)
    old, before = some_part(records, rnd.randrange(300), rnd.randrange(300))
    asked: list[int] = []

    def has_handlers(place: int) -> bool:
        asked.append(place)
        return place % 3 != 0

    site = FrameSite(rnd.choice([0, 777]), len(records) - rnd.choice([21, 40]), AT, rnd.randint(-9, 9))
    how = (records, OUT, before, site, has_handlers, some_moves(seed))
    words, _ = both(RECORDS, "predict_frames", old, *how, with_sizes=seed % 2 == 0)

    assert len(words) > 20
    assert len(asked) > 20


@settings(max_examples=300)
@given(BYTES, st.integers(0, 60), st.integers(0, 60), st.integers(-5, 200), ADDRESSES, st.integers(0, 99))
def test_frames_of_any_bytes_are_those_of_python(
    records: bytes, first: int, last: int, left: int, address: int, seed: int
) -> None:
    old, before = some_part(records, first, last)
    site = FrameSite(100, left, address - 100, seed)

    both(
        RECORDS,
        "predict_frames",
        old,
        records,
        OUT,
        before,
        site,
        lambda place: place % 2 == 0,
        some_moves(seed),
        with_sizes=True,
    )


def test_what_does_not_fit_together_is_refused() -> None:
    eight, none, one = bytes(8), (array("q"), array("q")), (array("q", [0]), array("q", [NOWHERE]))
    with pytest.raises(ValueError, match="data of 8 bytes, 7 to write"):
        imagedelta_native.predict_addresses(eight, bytearray(7), 0, (4, 0, 9, 0, 0), *one)
    with pytest.raises(ValueError, match="numbers of 3 bytes"):
        imagedelta_native.predict_addresses(eight, bytearray(8), 0, (3, 0, 9, 0, 0), *one)
    with pytest.raises(ValueError, match="0 starts of 0 steps"):
        imagedelta_native.predict_relocations(eight, bytearray(8), 0, none)
    with pytest.raises(ValueError, match="1 starts of 0 steps"):
        imagedelta_native.predict_distances(eight, bytearray(8), 0, (0, 0), one, (one[0], none[0]))
