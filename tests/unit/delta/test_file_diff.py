import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.byte_sums import PIECE_BYTES, add, subtract
from imagedelta.delta.encode.file_diff import Difference, difference


def remade(old: bytes, found: Difference) -> bytes:
    """Make the new bytes as the format says."""
    out, position, at, at_extra = b"", found.start, 0, 0
    for same, extra, seek in found.controls:
        assert 0 <= position <= position + same <= len(old)
        assert same + extra > 0
        pairs = zip(old[position : position + same], found.difference[at : at + same], strict=True)
        out += bytes((a + b) % 256 for a, b in pairs) + found.extra[at_extra : at_extra + extra]
        position, at, at_extra = position + same + seek, at + same, at_extra + extra
    assert (at, at_extra) == (len(found.difference), len(found.extra))
    return out


_bytes = st.lists(
    st.sampled_from([b"\0" * 50, b"abcdefgh" * 9, bytes(range(100)), b"x"]) | st.binary(min_size=1, max_size=30),
    min_size=1,
    max_size=12,
).map(b"".join)


@settings(max_examples=400)
@given(_bytes, _bytes, st.sampled_from([1, 8, 32]))
def test_every_difference_makes_the_new_bytes(old, new, min_match):
    assert remade(old, difference(old, new, min_match)) == new


@settings(max_examples=200)
@given(_bytes, st.integers(0, 300), st.binary(max_size=5), st.sampled_from([1, 32]))
def test_every_difference_of_related_bytes_makes_the_new_ones(old, at, inserted, min_match):
    new = old[:at] + inserted + old[at:] + old[: at // 2]

    assert remade(old, difference(old, new, min_match)) == new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (bytes(300_000), bytes(300_010)),
        (bytes(300_010), bytes(300_000)),
        (b"abcdefgh" * 40_000, b"Z" + b"abcdefgh" * 50_000 + b"?"),
        (b"head" + bytes(300_000), b"other" + bytes(400_000) + b"tail"),
    ],
    ids=["zeros grow", "zeros shrink", "pattern", "zeros at the end"],
)
def test_long_repetitions_take_no_longer_than_other_bytes(old, new):
    started = time.process_time()

    found = difference(old, new, 32)

    assert time.process_time() - started < 3
    assert remade(old, found) == new


def test_files_that_differ_in_few_bytes_are_subtracted():
    old = random.Random(1).randbytes(5000)

    found = difference(old, old[:8] + b"\1\2\3\4" + old[12:], 32)

    assert (found.controls, found.extra) == ([(5000, 0, 0)], b"")


@pytest.mark.parametrize("size", [1, 7, 512, PIECE_BYTES, 2 * PIECE_BYTES + 5])
def test_subtraction_is_undone_by_addition(size):
    old, new = random.Random(1).randbytes(size), random.Random(2).randbytes(size)

    plain = subtract(new, old)

    assert plain == bytes((a - b) % 256 for a, b in zip(new, old, strict=True))
    for at in range(0, size, PIECE_BYTES):
        part = slice(at, at + PIECE_BYTES)
        assert add(old[part], plain[part]) == new[part]
