"""What a delta makes is the same however its matches, its extra bytes and its streams are cut."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.byte_sums import PIECE_BYTES
from imagedelta.delta.content import BytesReader, Extent, in_blocks
from imagedelta.delta.decode.differences import PlainDifferences
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.zero_runs import SHORT_RUN, ZeroRuns, shorten
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.old import Old, Unpredicted
from imagedelta.delta.predict.prediction import Prediction
from imagedelta.delta.predict.shifts import Stretch

OLD = random.Random(1).randbytes(200_000)
_length = st.integers(0, 40) | st.sampled_from([4095, 4096, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 150_000])


def tape(data: bytes, size: int) -> StreamTape:
    return StreamTape("test", iter([data[at : at + size] for at in range(0, len(data), size)]), len(data))


def old_bytes(controls: Controls, *, predicted: bool) -> Old:
    """Of no kind of references, a prediction has the parts of its start by themselves."""
    base = in_blocks(Extent(BytesReader(OLD), 0, len(OLD)), 4096, 2)
    return Prediction(Kind.NONE, (), base, controls) if predicted else Unpredicted(base)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_length, _length).filter(any), min_size=1, max_size=12),
    st.integers(0, 1 << 32),
    st.sampled_from([1, 7, 1000, PIECE_BYTES]),
    st.booleans(),
)
def test_what_a_delta_makes_does_not_depend_on_how_it_is_cut(
    lengths: list[tuple[int, int]], seed: int, cut: int, predicted: bool
) -> None:
    rnd = random.Random(seed)
    steps = [(Stretch(rnd.randrange(len(OLD) - same + 1), 0, same), extra) for same, extra in lengths]
    differences = [bytes(rnd.choices([0, 0, 0, 1, 255], k=min(same, 50))).ljust(same, b"\0") for same, _ in lengths]
    extras = [rnd.randbytes(extra) for _, extra in lengths]
    due = b"".join(
        byte_sums_of(OLD[match.old : match.old + match.length], added) + new
        for (match, _), added, new in zip(steps, differences, extras, strict=True)
    )
    moves, at = [], 0
    for match, extra in steps:
        moves += [(0, 0, match.old - at), (match.length, extra, 0)]
        at = match.old + match.length
    controls = Controls(0, moves)
    dense, counts = shorten(b"".join(differences), SHORT_RUN)
    runs = ZeroRuns(tape(dense, cut), tape(counts, cut), SHORT_RUN)

    made = PlainDifferences(runs).made(
        old_bytes(controls, predicted=predicted), controls.steps(), tape(b"".join(extras), cut)
    )

    pieces = list(made)
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert b"".join(pieces) == due
    runs.finish()


def byte_sums_of(old: bytes, added: bytes) -> bytes:
    return bytes((a + b) & 255 for a, b in zip(old, added, strict=True))
