"""Runs of zeros come out as they went in, however the stream is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.zero_runs import RUN, SHORT_RUN, Shortening, ZeroRuns, shorten
from imagedelta.errors import ContentError

_differences = st.lists(
    st.integers(0, 3 * RUN).map(bytes) | st.binary(min_size=1, max_size=5) | st.just(bytes(5000)), max_size=9
).map(b"".join)


def cut(data: bytes, size: int) -> StreamTape:
    return StreamTape("test", iter([data[at : at + size] for at in range(0, len(data), size)]), len(data))


@given(st.lists(_differences, max_size=4), st.integers(1, 70), st.integers(1, 900))
def test_differences_come_out_as_they_went_in(items, stream_piece, control):
    shortened = [shorten(item) for item in items]
    dense = cut(b"".join(dense for dense, _ in shortened), stream_piece)
    counts = cut(b"".join(counts for _, counts in shortened), stream_piece)

    for item in items:
        runs = ZeroRuns(dense, counts)
        lengths = [min(control, len(item) - at) for at in range(0, len(item), control)]
        assert b"".join(runs.read(length) for length in lengths) == item
        runs.finish()
    dense.finish()
    counts.finish()


@given(st.lists(_differences, max_size=6))
def test_differences_that_come_bit_by_bit_are_shortened_as_all_together(pieces):
    shortening = Shortening(SHORT_RUN)
    for piece in pieces:
        shortening.add(piece)

    assert shortening.finish() == shorten(b"".join(pieces), SHORT_RUN)


def test_a_megabyte_of_zeros_is_a_run_and_a_number():
    dense, counts = shorten(b"\1" + bytes(1_000_000) + b"\2")

    assert dense == b"\1" + bytes(RUN) + b"\2"
    assert len(counts) == 3


def test_zeros_left_over_at_the_end_of_an_item_are_refused():
    runs = ZeroRuns(cut(bytes(RUN), 10), cut(b"\x05", 1))
    runs.read(RUN + 2)

    with pytest.raises(ContentError):
        runs.finish()
