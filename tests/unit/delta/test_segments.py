"""Large streams are cut into segments that are coded apart; a device reads one stream all the same."""

from __future__ import annotations

import io
import random
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.encode import spools, stream_plans
from imagedelta.delta.encode.build import build_patch
from imagedelta.delta.encode.codings import Lzma2
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.encode.spools import SegmentWriter, Spools
from imagedelta.delta.encode.stream_coding import code_segment, code_streams
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.format import coders
from imagedelta.delta.format.coders import LZMA2, LZMA2_X86, MIN_DICTIONARY, coder
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.patches import assert_rebuilt, content_of

SEGMENT = 1000


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(spools, "SEGMENT_BYTES", SEGMENT)
    monkeypatch.setattr(coders, "LEAST_FRAME_BYTES", SEGMENT)


@pytest.fixture(scope="module")
def streams_here(tmp_path_factory):
    """Opens raw streams that are closed at the end."""
    with ExitStack() as exits:
        yield lambda: exits.enter_context(Spools(tmp_path_factory.mktemp("raw")))


def raw(streams, role, *pieces):
    """Write these pieces to one stream; return all streams and the sizes of its segments."""
    writer = SegmentWriter(streams)
    for piece in pieces:
        writer.write(role, piece)
    return streams, writer.finish().get(role, ())


def joined(streams, plan):
    """Return what a device reads of a stream whose segments were coded one by one."""
    out = io.BytesIO()
    for number in range(len(plan.segments)):
        code_segment(plan, number, streams.segment(plan.role, number), out)
    stream = plan.stream(out.tell())
    out.seek(0)
    return b"".join(coder(stream.coder).reader(stream.params, lambda limit: iter(())).pieces(out))


@pytest.mark.parametrize("sizes", [[1], [999], [1000], [1001], [2000], [2001], [700, 700, 700], [5000, 1]])
def test_every_segment_but_the_last_has_the_same_size_and_none_is_empty(streams_here, sizes):
    streams, segments = raw(streams_here(), Role.LITERAL, *(random.Random(size).randbytes(size) for size in sizes))

    assert sum(segments) == sum(sizes)
    assert set(segments[:-1]) <= {SEGMENT}
    assert 0 < segments[-1] <= SEGMENT
    assert [streams.segment(Role.LITERAL, number).size for number in range(len(segments))] == list(segments)


def test_streams_that_grow_side_by_side_keep_their_bytes_apart(streams_here):
    streams = streams_here()
    writer = SegmentWriter(streams)
    for number in range(50):
        writer.write(Role.DIFF, bytes([number]) * 70)
        writer.write(Role.TEXT, bytes([number]) * 30)
    sizes = writer.finish()

    for role, each in ((Role.DIFF, 70), (Role.TEXT, 30)):
        whole = b"".join(streams.segment(role, number).whole() for number in range(len(sizes[role])))
        assert whole == b"".join(bytes([number]) * each for number in range(50))


@pytest.mark.parametrize("number", [LZMA2, LZMA2_X86])
@settings(max_examples=60)
@given(pieces=st.lists(st.binary(max_size=3000), min_size=1, max_size=6), jumps=st.integers(0, 400), seed=st.integers())
def test_coded_segments_are_one_stream_to_the_reader(streams_here, number, pieces, jumps, seed):
    """With many calls and jumps in it, which the x86 filter changes, also at the ends of segments."""
    chance, code = random.Random(seed), []
    for piece in pieces:
        changed = bytearray(piece)
        for _ in range(min(jumps, len(changed))):
            at = chance.randrange(len(changed))
            changed[at : at + 5] = (
                bytes([chance.choice((0xE8, 0xE9))]) + chance.randbytes(3) + chance.choice((b"\0", b"\xff"))
            )
        code.append(bytes(changed))
    streams, sizes = raw(streams_here(), Role.CODE, *code)
    if sizes:
        plan = StreamPlan(Role.CODE, MIN_DICTIONARY, sizes, Lzma2(number))

        assert joined(streams, plan) == b"".join(code)


def test_code_without_a_calm_place_is_not_cut_and_coded_whole(streams_here):
    streams, sizes = raw(streams_here(), Role.CODE, b"\xe8\xe9" * 3000)

    assert sizes == (6000,)
    plan = StreamPlan(Role.CODE, MIN_DICTIONARY, sizes, Lzma2(LZMA2_X86))
    assert joined(streams, plan) == b"\xe8\xe9" * 3000


def test_streams_coded_side_by_side_are_those_coded_one_by_one(streams_here, tmp_path):
    streams = streams_here()
    writer = SegmentWriter(streams)
    writer.write(Role.LITERAL, random.Random(1).randbytes(5500))
    writer.write(Role.DIFF, bytes(700))
    sizes = writer.finish()
    plans = [
        StreamPlan(Role.DIFF, MIN_DICTIONARY, sizes[Role.DIFF], None),
        StreamPlan(Role.LITERAL, MIN_DICTIONARY, sizes[Role.LITERAL], Lzma2(LZMA2)),
    ]
    apart = io.BytesIO()
    for number in range(len(sizes[Role.LITERAL])):
        code_segment(plans[1], number, streams.segment(Role.LITERAL, number), apart)

    with ExitStack() as exits, JobQueue(2, 100 * MIB) as queue:
        small, large = code_streams(plans, streams, tmp_path, exits, queue)

        assert large.data.read() == apart.getvalue()
        assert (large.stream.raw_bytes, large.stream.coded_bytes) == (5500, len(apart.getvalue()))
        assert (small.stream.role, small.stream.raw_bytes) == (Role.DIFF, 700)


def test_a_patch_whose_streams_have_many_segments_makes_its_image(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_plans, "_SMALL_BYTES", 0)
    monkeypatch.setattr(stream_plans, "_IN_MEMORY_BYTES", {})
    elf = b"\x7fELF" + b"\xe8\x10\x20\x00\x00code" * 900
    files = {f"bin/{number}": elf + random.Random(number).randbytes(900) for number in range(6)}
    target = an_image({**files, "words": b"some words of text\n" * 200})
    out = io.BytesIO()

    build_patch(content_of(target), [], out, scratch=tmp_path)

    assert_rebuilt(target, out.getvalue())
    assert list(tmp_path.iterdir()) == []
