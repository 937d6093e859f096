"""New programs are coded with their operands absolute and their metadata in columns; a device undoes both."""

from __future__ import annotations

import io
import lzma
import random
import struct
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode import stream_coding
from imagedelta.delta.encode.codings import Lzma2, Programs
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.encode.stream_plans import StreamPlan, plan_streams
from imagedelta.delta.format import coders
from imagedelta.delta.format.coders import (
    BROTLI,
    CODE_FRAME,
    LZMA2,
    LZMA2_X86,
    MIN_DICTIONARY,
    PLAIN_FRAME,
    PROGRAMS,
    Params,
    coder,
    lzma2_filters,
    program_form,
)
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.table_columns import MAX_TABLES_BYTES
from imagedelta.limits import KIB, MIB
from tests.images import an_image
from tests.unit.delta.hand_made import HAND, LAYER, LITERAL, SOURCE, by_hand, refused
from tests.unit.delta.patches import a_patch, assert_rebuilt
from tests.unit.delta.predict.assemblies import Source, assembly, call, pdb, ready_to_run, root, tables_stream, tiny
from tests.vectors import programs as second_reader

V2 = PROFILES["v2-64m"]
METHODS = [(f"Method{number}", tiny(call(0x0A000001 + number % 2))) for number in range(30)]
ASSEMBLY = assembly(Source(METHODS))
RUNTIME = ready_to_run(Source(METHODS), 40)


def metadata(rows: int) -> bytes:
    """Metadata of one table, of fields, whose stream comes first."""
    fields = [struct.pack("<HHH", 6, row * 7 % 65536, row // 3 % 65536) for row in range(rows)]
    return root({"#~": tables_stream({4: fields})})


def instructions(seed: int, count: int) -> bytes:
    chance = random.Random(seed)
    opening = [b"\x48\x8b\x05", b"\x4c\x8d\x3d", b"\xff\x15", b"\xff\x25", b"\x48\x83\x3d", b"\xff\xff\x15"]
    operands = [0, 1, -1, (1 << 24) - 1, 1 << 24, -(1 << 24), -(1 << 24) - 1, 0x100, -0x12345]
    return b"".join(
        chance.choice(opening) + struct.pack("<i", chance.choice(operands))[: chance.choice((4, 4, 4, 2))]
        for _ in range(count)
    )


SNIPPETS = [ASSEMBLY, RUNTIME, metadata(9), metadata(0), pdb(3, ["one"]), b"BSJB", ASSEMBLY[:-40], instructions(1, 60)]
STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=80),
        st.sampled_from(SNIPPETS),
        st.builds(instructions, st.integers(0, 50), st.integers(1, 30)),
        st.builds(lambda data, end: data[:end], st.sampled_from(SNIPPETS), st.integers(0, 3000)),
        st.builds(bytes, st.integers(0, 2000)),
    ),
    max_size=8,
).map(b"".join)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def packed_form(data: bytes, has_code: bool, size: int = 1 << 16) -> bytes:
    return b"".join(program_form(cut(data, size), has_code, undo=False))


def undone(data: bytes, has_code: bool, size: int = 1 << 16) -> bytes:
    return b"".join(program_form(cut(data, size), has_code, undo=True))


@pytest.mark.parametrize("has_code", [False, True])
@given(data=STREAMS, sizes=st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
@example(data=ASSEMBLY + instructions(2, 90) + RUNTIME + metadata(200), sizes=(1, 7))
def test_any_bytes_come_back_however_they_are_cut(has_code: bool, data: bytes, sizes: tuple[int, int]) -> None:
    form = packed_form(data, has_code, sizes[0])

    assert len(form) == len(data)
    assert undone(form, has_code, sizes[1]) == data


@given(data=STREAMS)
def test_the_second_reader_undoes_the_same(data: bytes) -> None:
    """Whether a writer made it or not: any bytes may come out of LZMA2."""
    assert second_reader.with_rows(second_reader.relative(data)) == undone(data, has_code=True)
    assert second_reader.with_rows(data) == undone(data, has_code=False)


def test_references_to_one_thing_have_one_operand() -> None:
    code = b"".join(b"\x48\x8b\x05" + struct.pack("<i", 5000 - 7 * (number + 1)) for number in range(100))

    assert packed_form(code, has_code=True) == (b"\x48\x8b\x05" + struct.pack("<i", 5000)) * 100


def test_a_call_through_a_table_far_into_a_stream_has_an_operand_that_wraps() -> None:
    code = bytes(1 << 24) + b"\xff\x15" + struct.pack("<i", -6)

    form = packed_form(code, has_code=True)

    assert form[-4:] == struct.pack("<i", -(1 << 24))
    assert undone(form, has_code=True) == code


def test_a_column_of_rising_indexes_becomes_equal_numbers() -> None:
    data = metadata(50)
    start = packed_form(data, has_code=False).index(struct.pack("<50H", *[6] * 50))

    columns = packed_form(data, has_code=False)[start + 100 :]

    assert columns[:200] == struct.pack("<100H", 0, *[7] * 49, *[int(row and row % 3 == 0) for row in range(50)])


@pytest.mark.parametrize("data", [ASSEMBLY, RUNTIME], ids=["bytecode", "with native code"])
def test_the_tables_of_an_assembly_are_found(data: bytes) -> None:
    assert packed_form(data, has_code=False) != data


@pytest.mark.parametrize(
    "data",
    [
        pdb(3, ["one", "two"]),
        metadata(50)[:-200],
        metadata(MAX_TABLES_BYTES // 6 + 1),
        metadata(50).replace(b"#~\0", b"#-\0"),
    ],
    ids=["of a PDB", "cut off", "too large", "of another kind"],
)
def test_other_tables_stay_as_they_are(data: bytes) -> None:
    assert packed_form(data, has_code=False) == data


def frame(data: bytes, kind: int = PLAIN_FRAME) -> bytes:
    form = b"".join(program_form(iter([data]), kind == CODE_FRAME, undo=False))
    filters = lzma2_filters(MIN_DICTIONARY, x86=kind == CODE_FRAME)
    return bytes([kind]) + lzma.compress(form, lzma.FORMAT_RAW, filters=filters)


def by_frames(coded: bytes, profile: str = "v2-64m") -> bytes:
    params = Params(dictionary_bytes=MIN_DICTIONARY)
    return by_hand(LITERAL, coded={Role.LITERAL: (PROGRAMS, params, coded)}, profile=profile)


@pytest.mark.parametrize("kind", [PLAIN_FRAME, CODE_FRAME])
def test_a_frame_of_either_kind_is_taken(kind: int) -> None:
    assert_rebuilt(HAND, by_frames(frame(LAYER, kind)), SOURCE)


@pytest.mark.parametrize(
    ("coded", "code"),
    [
        (b"\2" + frame(LAYER)[1:], "content.invalid"),
        (frame(LAYER)[:-1], "content.invalid"),
        (frame(LAYER)[:1], "content.invalid"),
        (frame(LAYER) + b"\0", "content.invalid"),
        (frame(LAYER[:500]) + frame(LAYER[500:]), "content.invalid"),
        (frame(LAYER + b"more"), "content.invalid"),
        (frame(LAYER[:-1]), "content.truncated"),
        (b"", "content.truncated"),
    ],
    ids=["kind", "cut", "nothing in it", "more", "short frame", "too long", "too short", "no frame"],
)
def test_frames_that_do_not_fit_are_refused(coded: bytes, code: str) -> None:
    assert refused(by_frames(coded)) == code


def test_the_first_format_has_no_frames_of_programs() -> None:
    assert refused(by_frames(frame(LAYER), profile="v1-64m")) == "content.unsupported"


def test_segments_are_frames_of_which_each_has_code_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coders, "LEAST_FRAME_BYTES", KIB)
    code = b"".join(b"\x48\x8b\x05" + struct.pack("<i", 9000 - 7 * (number + 1)) for number in range(900))
    segments = [code, random.Random(1).randbytes(3000) + ASSEMBLY, code[::-1]]
    plan = StreamPlan(Role.CODE, MIN_DICTIONARY, tuple(map(len, segments)), Programs({"lc": 0, "lp": 1, "pb": 1}))
    out, kinds = io.BytesIO(), []

    for number, data in enumerate(segments):
        kinds.append(out.tell())
        stream_coding.code_segment(plan, number, Extent(BytesReader(data), 0, len(data)), out)

    reader = coder(PROGRAMS).reader(plan.stream(0).params, lambda limit: iter(()))
    assert b"".join(reader.pieces(io.BytesIO(out.getvalue()))) == b"".join(segments)
    assert [out.getvalue()[at] for at in kinds[:2]] == [CODE_FRAME, PLAIN_FRAME]


def test_code_with_many_references_packs_shorter_than_with_the_x86_filter_alone() -> None:
    chance = random.Random(5)
    targets = [chance.randrange(1 << 20) for _ in range(40)]
    code = bytearray()
    for _ in range(4000):
        code += chance.randbytes(2) + b"\xff\x15"
        code += struct.pack("<i", chance.choice(targets) - len(code) - 4)

    packed = Programs({"lc": 0, "lp": 1, "pb": 1}).pack(bytes(code), MIB)

    assert packed[0] == CODE_FRAME
    assert len(packed) < 0.8 * len(Lzma2(LZMA2_X86, {"lc": 0, "lp": 1, "pb": 1}).pack(bytes(code), MIB))


@pytest.mark.parametrize(("name", "is_filtered"), [("v2-64m", True), ("v1-64m", False)])
def test_extra_bytes_go_through_the_x86_filter_in_the_second_format(name: str, is_filtered: bool) -> None:
    chance = random.Random(8)
    targets = [chance.randrange(1 << 20) for _ in range(20)]
    code = bytearray()
    for _ in range(2000):
        code += chance.randbytes(2) + b"\xe8"
        code += struct.pack("<i", chance.choice(targets) - len(code) - 4)
    extra = Extent(BytesReader(bytes(code)), 0, len(code))
    with JobQueue(1, 100 * MIB) as queue:
        (plan,) = plan_streams(Anything(), {Role.EXTRA: (len(code),)}, 40 * MIB, PROFILES[name], queue)

    coded = stream_coding.code_small(plan, extra)

    assert (coded.stream.coder == LZMA2_X86) == is_filtered
    reader = coder(coded.stream.coder).reader(coded.stream.params, lambda limit: iter(()))
    assert b"".join(reader.pieces(coded.data)) == code


def test_a_first_image_of_programs_is_coded_so_and_made(tmp_path) -> None:
    target = an_image({"lib/a.dll": ASSEMBLY + instructions(4, 2000), "lib/b.dll": RUNTIME + instructions(4, 2000)})

    patch, summary = a_patch(target, scratch=tmp_path, profile=V2)

    assert summary.memory_bytes <= V2.decoder_bytes
    assert_rebuilt(target, patch)


@pytest.mark.parametrize(
    "hostile",
    [b"BSJB" * (MIB // 4), metadata(1) * (MIB // len(metadata(1))), b"\xff\x15\0\0\0\0" * (MIB // 6)],
    ids=["signatures", "tables", "operands"],
)
def test_time_follows_the_size_whatever_is_in_it(hostile: bytes) -> None:
    started = time.process_time()
    undone(hostile, has_code=True)

    assert time.process_time() - started < 1


def test_tables_take_four_times_their_largest_size() -> None:
    data = metadata(MAX_TABLES_BYTES // 6 - 100)
    form = packed_form(data, has_code=True)
    assert form != data

    tracemalloc.start()
    for _ in program_form(cut(form, 1 << 16), has_code=True, undo=True):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 * MAX_TABLES_BYTES


@pytest.mark.parametrize("name", ["v2-64m", "v2-16m", "v2-16m-nofold", "v2-64m-cm-thin"])
@pytest.mark.parametrize("large", [3 * MIB, 40 * MIB, 300 * MIB])
def test_where_dictionaries_lack_memory_tiny_streams_leave_theirs(tmp_path, name: str, large: int) -> None:
    """With what each may take at most, all together stay within the profile."""
    profile = PROFILES[name]
    sizes = {role: (300,) for role in Role if role is not Role.CONFIG} | {Role.CODE: (large,), Role.EXTRA: (MIB,)}
    budget = profile.decoder_bytes - profile.predicting_bytes - MIB
    with JobQueue(1, 100 * MIB) as queue:
        plans = plan_streams(Anything(), sizes, budget, profile, queue)

    assert sum(map(most_memory, plans)) <= budget
    assert {plan.role for plan in plans if not plan.may_brotli} in (set(), set(sizes) - {Role.CODE, Role.EXTRA})


class Anything:
    """Streams of zeros."""

    def segment(self, role: Role, number: int) -> Extent:
        return Extent(self, 0, 1 << 40)

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(length)


def most_memory(plan: StreamPlan) -> int:
    """Return the most that a decoder of the stream takes, whichever coder turns out best."""
    dictionary = Params(dictionary_bytes=plan.dictionary)
    takes = [coder(LZMA2).memory(dictionary)]
    if plan.has_programs:
        takes.append(coder(PROGRAMS).memory(dictionary))
    if plan.may_brotli and plan.bytes <= 64 * KIB:
        takes.append(coder(BROTLI).memory(Params(window_log=max(10, plan.dictionary.bit_length() - 1))))
    return max(takes)
