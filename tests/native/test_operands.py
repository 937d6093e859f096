"""What is predicted in C is what Python predicts, on any bytes."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import imagedelta_native
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imagedelta_native import _native

from imagedelta.delta.predict.aarch64 import predict_aarch64
from imagedelta.delta.predict.differences import add_numbers
from imagedelta.delta.predict.site import Site
from imagedelta.delta.predict.steps import NOWHERE
from imagedelta.delta.predict.x86_opcodes import Sought
from imagedelta.delta.predict.x86_operands import predict_x86_64

OPENERS = [
    bytes([first, second]) for first in range(256) for second in (0x05, 0x04, 0x25, 0x44, 0x81, 0x84, 0xC0, 0xE0)
]
"""Bytes that may begin an opcode, and the kinds of what may be second."""
STRETCHES = 64


def some_code(size: int, rnd: random.Random) -> bytes:
    """Opcodes of all kinds, and operands of all sizes."""
    operands: list[Callable[[], bytes]] = [
        lambda: rnd.randint(-size, size).to_bytes(4, "little", signed=True),
        lambda: rnd.randint(0x400000, 0x400000 + 2 * size).to_bytes(4, "little"),
        lambda: rnd.randbytes(rnd.randint(0, 6)),
        lambda: b"\0\0\xff\xff",
        lambda: b"\x85" + rnd.randbytes(2) + b"\0\0",
    ]
    made = bytearray()
    while len(made) < size:
        made += rnd.choice([b"", b"\x48", b"\x0f", b"\xc7", b"\xe8"]) + rnd.choice(OPENERS) + rnd.choice(operands)()
    return bytes(made[:size])


def some_addresses(size: int, rnd: random.Random) -> tuple[array[int], array[int]]:
    starts = sorted(rnd.sample(range(0x400000 - size, 0x400000 + 3 * size), STRETCHES))
    moves = [rnd.choice([NOWHERE, 0, 16, -32, rnd.randint(-(1 << 40), 1 << 40)]) for _ in starts]
    return array("q", starts), array("q", [*moves[:-1], NOWHERE])


def all_of(code: bytes, low: int, high: int, same: int, base: int = 0x400000) -> list[Site]:
    return [Site(0, len(code), base, low, high, same)]


def cut(sites: list[Site], rnd: random.Random) -> list[Site]:
    """The first site as several of a few bytes, some of them elsewhere in memory, with bytes of none between them."""
    (start, end, base, low, high, same), found = sites[0], []
    while start < end:
        size = min(end - start, rnd.choice((0, 1, 3, 4, 5, 64, 3000)))
        found.append(Site(start, start + size, base + start + rnd.choice((0, 0, 4096)), low, high, same + size % 2))
        start += size + rnd.choice((0, 0, 4, 7))
    return found


def both(code: bytes, sought: Sought, sites: list[Site], starts: array[int], moves: array[int]) -> list[int]:
    """Where operands are; C and Python say and write the same."""
    in_python, in_c, numbers = bytearray(code), bytearray(code), array("q", chain(*sites))
    places = predict_x86_64(code, in_python, sought, numbers, starts, moves)
    assert imagedelta_native.predict_x86_64(code, in_c, sought, numbers, starts, moves) == places
    assert in_c == in_python
    return places


@pytest.mark.parametrize("sought", Sought)
@pytest.mark.parametrize("seed", range(6))
def test_operands_of_code_of_all_opcodes_are_those_of_python(sought: Sought, seed: int) -> None:
    rnd = random.Random(seed)
    code = some_code(40_000, rnd)
    starts, moves = some_addresses(len(code), rnd)

    whole = all_of(code, 0x400000 + 9_000, 0x400000 + 20_000, 16)
    for sites in (whole, cut(whole, rnd)):
        assert len(both(code, sought, sites, starts, moves)) > 200


@pytest.mark.parametrize("sought", Sought)
def test_every_pair_of_first_bytes_is_the_opcode_that_it_is_in_python(sought: Sought) -> None:
    starts, moves = array("q", [0, 1 << 40]), array("q", [48, NOWHERE])
    tails = [b"\x25\x05\0\x01\0\0\0", b"\x81\x20\0\xff\xff\x40\x12\0", b"\x84\x24\0\0\0\0\x12\x34\x56"]

    def found_in(code: bytes) -> int:
        return len(both(code, sought, all_of(code, 0x10, 0x20, 0), starts, moves))

    found = sum(
        found_in(bytes([first, second]) + tail)
        for first in range(256) for second in range(256) for tail in tails
    )  # fmt: skip

    assert found > 10_000


@pytest.mark.parametrize("sought", Sought)
def test_operands_of_a_real_program_are_those_of_python(sought: Sought) -> None:
    code = Path(_native.__file__).read_bytes()
    starts, moves = some_addresses(len(code), random.Random(1))

    assert len(both(code, sought, all_of(code, 0x400000, 0x420000, 0), starts, moves)) > 100


@settings(max_examples=300)
@given(
    st.binary(max_size=60), st.sampled_from(Sought), st.integers(-(1 << 62), 1 << 62), st.integers(-(1 << 62), 1 << 62)
)
def test_operands_of_any_bytes_at_any_address_are_those_of_python(
    code: bytes, sought: Sought, base: int, difference: int
) -> None:
    starts = array("q", sorted([base - 100, base, base + 40, 0x20000]))

    sites = all_of(code, base + 5, base + 20, 7, base)
    both(code, sought, sites, starts, array("q", [difference, 7, -difference, NOWHERE]))


def both_aarch64(code: bytes, sites: list[Site], starts: array[int], moves: array[int]) -> list[int]:
    """Where instructions are that refer to something; C and Python say and write the same."""
    in_python, in_c, numbers = bytearray(code), bytearray(code), array("q", chain(*sites))
    places = predict_aarch64(code, in_python, numbers, starts, moves)
    assert imagedelta_native.predict_aarch64(code, in_c, numbers, starts, moves) == places
    assert in_c == in_python
    return places


@pytest.mark.parametrize("skip", range(4))
@pytest.mark.parametrize("seed", range(4))
def test_instructions_of_aarch64_of_all_tops_are_those_of_python(seed: int, skip: int) -> None:
    rnd = random.Random(seed)
    words = [rnd.randbytes(3) + bytes([number % 256]) for number in range(20_000)]
    for at in rnd.sample(range(1, len(words)), 3_000):
        register = rnd.randrange(4)
        words[at - 1] = (0x90000000 | rnd.randrange(-3, 3) % 4 << 29 | register).to_bytes(4, "little")
        adds = rnd.choice([0x91000000, 0x39000000, 0x79400000, 0xB9400000, 0xF9400000, 0x3DC00000, 0xFD400000])
        words[at] = (adds | rnd.randrange(1 << 12) << 10 | register << 5 | rnd.randrange(32)).to_bytes(4, "little")
    code = bytes(skip) + b"".join(words)
    starts, moves = some_addresses(len(code), rnd)

    whole = [Site(skip, len(code), 0x400000 + skip, 0x400000 + 9_000, 0x400000 + 20_000, 16)]
    for sites in (whole, cut(whole, rnd)):
        places = both_aarch64(code, sites, starts, moves)

        assert len(places) > 500
        assert len(set(places)) == len(places)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 3), st.integers(0, 1 << 62), st.integers(-(1 << 61), 1 << 61))
def test_instructions_of_any_bytes_at_any_address_are_those_of_python(
    code: bytes, skip: int, base: int, difference: int
) -> None:
    starts = array("q", sorted([base - 100, base, base + 40, 0x20000]))

    sites = [Site(min(skip, len(code)), len(code), base, base + 5, base + 20, 7)]
    both_aarch64(code, sites, starts, array("q", [difference, 7, -difference, NOWHERE]))


@given(st.binary(min_size=8, max_size=60), st.data(), st.sampled_from([4, 8]), st.booleans())
def test_numbers_are_added_and_subtracted_as_in_python(
    numbers: bytes, data: st.DataObject, width: int, subtract: bool
) -> None:
    size = len(numbers)
    more = data.draw(st.binary(min_size=size, max_size=size))
    changed = data.draw(st.sampled_from([more, bytes(size), numbers]))
    places = data.draw(st.lists(st.integers(0, size - width)))
    in_python, in_c = bytearray(size), bytearray(size)

    add_numbers(in_python, numbers, more, changed, places, width, subtract=subtract)
    imagedelta_native.add_numbers(in_c, numbers, more, changed, places, width, subtract=subtract)

    assert in_c == in_python


def test_nothing_is_written_or_read_beyond_what_was_given() -> None:
    eight, sites = bytes(8), array("q", Site(0, 8, 0, 0, 0, 0))
    starts = array("q", [0])
    with pytest.raises(ValueError, match="beyond 8 bytes"):
        imagedelta_native.add_numbers(bytearray(8), eight, eight, b"\1" * 8, [5], 4, subtract=False)
    with pytest.raises(ValueError, match="numbers of 4 bytes in 8, 7"):
        imagedelta_native.add_numbers(bytearray(8), bytes(7), eight, eight, [], 4, subtract=False)
    with pytest.raises(ValueError, match="code of 8 bytes, 7 to write"):
        imagedelta_native.predict_x86_64(eight, bytearray(7), 0, sites, starts, starts)
    for wrong in ([0, 9], [-1, 4], [5, 4], [0, 1 << 40], [4, 8, 0, 4], [0, 5, 4, 8], [0, 8, 8, -8]):
        bounds = zip(wrong[::2], wrong[1::2], strict=True)
        sites = array("q", chain(*(Site(start, end, 0, 0, 0, 0) for start, end in bounds)))
        with pytest.raises(ValueError, match="stretches of code"):
            imagedelta_native.predict_x86_64(eight, bytearray(8), 0, sites, starts, starts)
        with pytest.raises(ValueError, match="stretches of code"):
            imagedelta_native.predict_aarch64(eight, bytearray(8), sites, starts, starts)
    with pytest.raises(ValueError, match="stretches of code"):
        imagedelta_native.predict_x86_64(eight, bytearray(8), 0, sites[:-1], starts, starts)
    with pytest.raises(ValueError, match="0 stretches of addresses"):
        imagedelta_native.predict_x86_64(eight, bytearray(8), 0, sites[:0], array("q"), array("q"))
