"""Patches of profiles with the native coder: differences beside old bytes, new bytes in frames, and what is refused."""

import io
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagedelta_native import ResidualEncoder

from imagedelta import leb128
from imagedelta.delta import read_patch_header
from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode import beside, spools, stream_plans
from imagedelta.delta.encode.build import Build
from imagedelta.delta.encode.codings import Mixed
from imagedelta.delta.encode.file_diff import Difference
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.encode.predicting import spans_of
from imagedelta.delta.format import mixing
from imagedelta.delta.format.coders import MIXED_BYTES, MIXED_DIFFERENCES, MIXED_PROGRAMS, PROGRAMS_BYTES, Params
from imagedelta.delta.format.header import PatchStream, header_to_bytes
from imagedelta.delta.format.profiles import PROFILES, Profile
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, UnsupportedFormat
from imagedelta.limits import KIB, MIB
from tests.images import an_image
from tests.unit.delta.hand_made import HAND, LITERAL, by_hand, refused
from tests.unit.delta.hand_made import SOURCE as HAND_SOURCE
from tests.unit.delta.patches import MemorySink, a_patch, applied, assert_rebuilt, content_of, layers_of
from tests.unit.delta.predict.programs import a_program, operands
from tests.vectors import make
from tests.vectors.reader import Patch

PLAIN = next(profile for profile in PROFILES.values() if f"{profile.name}-cm" in PROFILES)
CM, THIN = PROFILES[f"{PLAIN.name}-cm"], PROFILES[f"{PLAIN.name}-cm-thin"]


def code(size: int, seed: int) -> bytes:
    rnd = random.Random(seed)
    words = [b"\xe8\x10\x20\x00\x00", b"\x48\x8b\x05\x01\x02\x03\x00", b"\x90", b"\x55\x48\x89\xe5", rnd.randbytes(3)]
    return b"".join(rnd.choice(words) for _ in range(size))[:size]


def moved(data: bytes, every: int) -> bytes:
    """Every so many bytes a number is larger by one of a few amounts, as references are behind what was put in."""
    out = bytearray(data)
    for at in range(40, len(out) - 4, every):
        number = int.from_bytes(out[at : at + 4], "little")
        out[at : at + 4] = (number + 0x120 + 0x30 * (number % 7) & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(out)


OLD = {"bin/a": b"\x7fELF" + code(60_000, 1), "bin/b": b"\x7fELF" + code(30_000, 2), "far/c": code(150_000, 3)}
NEW = {
    "bin/a": moved(OLD["bin/a"], 31)[:30_000] + code(7_000, 8) + moved(OLD["bin/a"], 23)[30_000:],
    "bin/b": moved(OLD["bin/b"], 77),
    "far/c": OLD["far/c"][:149_000] + moved(OLD["far/c"][149_000:], 90),
    "new": b"\x7fELF" + code(20_000, 9),
}
SOURCE, TARGET = an_image(OLD), an_image(NEW)


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return a_patch(TARGET, SOURCE, scratch=tmp_path_factory.mktemp("scratch"), profile=THIN)[0]


def coders(patch: bytes) -> dict[Role, int]:
    return {stream.role: stream.coder for stream in read_patch_header(io.BytesIO(patch)).streams}


def test_what_is_mixed_makes_the_image(patch: bytes) -> None:
    used = coders(patch)

    assert (used[Role.DIFF], used[Role.EXTRA], used[Role.LITERAL]) == (MIXED_DIFFERENCES, MIXED_BYTES, MIXED_PROGRAMS)
    assert Role.ZEROS not in used
    assert_rebuilt(TARGET, patch, SOURCE)


@pytest.mark.parametrize("span_bytes", [64 * KIB, 1000])
def test_predicted_deltas_are_mixed_too(tmp_path, monkeypatch: pytest.MonkeyPatch, span_bytes: int) -> None:
    """Parts are predicted one by one, and wait until the span that they are in is whole."""
    monkeypatch.setattr("imagedelta.delta.format.mixing.SPAN_BYTES", span_bytes)
    for module in ("old", "cuts"):
        monkeypatch.setattr(f"imagedelta.delta.predict.{module}.PART_BYTES", 700)

    patch, _ = a_patch(make.PROGRAMS_2, make.PROGRAMS_1, scratch=tmp_path, profile=CM)

    assert coders(patch)[Role.DIFF] == MIXED_DIFFERENCES
    assert Role.PREDICTIONS in coders(patch)
    assert_rebuilt(make.PROGRAMS_2, patch, make.PROGRAMS_1)


def test_large_programs_are_mixed_too(tmp_path) -> None:
    old, new = a_program(3000), bytearray(a_program(3000, {100: b"\x90" * 7, 1500: b"\xcc" * 33, 2900: b"\x55" * 3}))
    for at in range(5000, 120_000):
        if crc32(old[at - 3 : at + 1]) % 50 == 0:  # behind the same bytes the same changes
            new[at] = (new[at] + 1 + old[at] % 9) % 256
    source, target = an_image({"bin/app": old}), an_image({"bin/app": bytes(new)})
    profile = replace(CM, whole_file_bytes=32 * KIB, window_bytes=32 * KIB, window_reach_bytes=16 * KIB)

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=profile)

    assert coders(patch)[Role.DIFF] == MIXED_DIFFERENCES
    assert_rebuilt(target, patch, source)


def test_the_second_reader_agrees_on_predicted_deltas_that_are_mixed(tmp_path) -> None:
    patch, _ = a_patch(make.PROGRAMS_2, make.PROGRAMS_1, scratch=tmp_path, profile=CM)
    source = make.PROGRAMS_1

    read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()

    assert read == (make.PROGRAMS_2.image.config, layers_of(make.PROGRAMS_2))


def test_new_files_are_mixed_for_thin_links_alone(tmp_path) -> None:
    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path, profile=CM)

    assert coders(patch)[Role.DIFF] == MIXED_DIFFERENCES
    assert coders(patch)[Role.LITERAL] != MIXED_BYTES
    assert_rebuilt(TARGET, patch, SOURCE)


def test_it_is_shorter(tmp_path) -> None:
    sizes = [len(a_patch(TARGET, SOURCE, scratch=tmp_path, profile=profile)[0]) for profile in (PLAIN, CM, THIN)]

    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] < 0.9 * sizes[0]


def test_differences_that_are_shorter_by_themselves_stay_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of some patches of a few hundred bytes are."""
    monkeypatch.setattr(beside.KeptDifferences, "code", lambda differences, out, bits: 100_000)

    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path, profile=CM)

    assert MIXED_DIFFERENCES not in coders(patch).values()
    assert_rebuilt(TARGET, patch, SOURCE)


def test_layers_that_are_there_already_are_read_past(tmp_path) -> None:
    parts = [dict(list(NEW.items())[:1]), dict(list(NEW.items())[1:])]
    target = an_image(*parts)
    patch, _ = a_patch(target, SOURCE, scratch=tmp_path, profile=CM)
    lower = target.image.diff_ids[0]
    sink = MemorySink({lower: layers_of(target)[lower]})

    applied(patch, SOURCE, sink=sink)

    assert coders(patch)[Role.DIFF] == MIXED_DIFFERENCES
    assert sink.layers == layers_of(target)


@pytest.mark.parametrize("profile", [CM, THIN])
def test_a_split_build_gives_the_same_patch(tmp_path, profile: Profile) -> None:
    build = Build(content_of(TARGET), [content_of(SOURCE)], profile, tmp_path)
    made = [io.BytesIO() for _ in range(build.chunks)]
    for number, file in enumerate(made):
        build.make_chunk(number, file)
        file.seek(0)
    out = io.BytesIO()

    with JobQueue(1, 900 * MIB) as queue:
        build.finish(made, out, queue)

    assert out.getvalue() == a_patch(TARGET, SOURCE, scratch=tmp_path, profile=profile)[0]


def test_new_programs_are_mixed_in_the_form_that_packs_better(tmp_path) -> None:
    target = an_image({"bin/app": b"\x7fELF" + operands(b"")})

    patch, summary = a_patch(target, scratch=tmp_path, profile=THIN)

    header = read_patch_header(io.BytesIO(patch))
    programs = next(stream for stream in header.streams if stream.coder == MIXED_PROGRAMS)
    assert programs.memory_bytes == mixing.memory_bytes(programs.params.bits) + PROGRAMS_BYTES
    assert summary.bytes < a_patch(target, scratch=tmp_path, profile=PLAIN)[1].bytes
    assert_rebuilt(target, patch)


LONG = {
    "code": (b"\x7fELF" + code(120_000, 5), Role.LITERAL, MIXED_PROGRAMS),
    "text": (b" ".join(b"%d" % (number * number) for number in range(14_000)), Role.TEXT, MIXED_BYTES),
}


@pytest.mark.parametrize("kind", LONG)
def test_a_long_stream_is_coded_in_frames(tmp_path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(spools, "MIXED_SEGMENT_BYTES", 50_000)
    monkeypatch.setattr(mixing, "LEAST_FRAME_BYTES", 50_000)
    monkeypatch.setattr(stream_plans, "_SMALL_BYTES", 10_000)
    monkeypatch.setattr(stream_plans, "_CLEARLY", 2)
    data, role, coder = LONG[kind]
    target = an_image({"new": data})

    patch, _ = a_patch(target, scratch=tmp_path, profile=THIN)

    assert coders(patch)[role] == coder
    assert_rebuilt(target, patch)


@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=12))
def test_old_bytes_that_are_left_out_are_not_looked_at(start: bytes, values: list[tuple[int, int]]) -> None:
    difference = bytearray(start)
    for zeros, value in values:
        difference += bytes(zeros) + bytes([value])
    difference += bytes(200)
    old = random.Random(len(difference)).randbytes(len(difference))
    controls = [(150, 0, 0), (len(difference) - 150, 0, 0)]
    both = (Extent(BytesReader(data), 0, len(data)) for data in (old, added(old, difference)))
    spans = list(spans_of(Difference(0, controls, b"", b""), *both))
    whole, thinned = ResidualEncoder(8), ResidualEncoder(8)

    full = [*(whole.span(differences, *span) for differences, span in spans), whole.finish()]
    unpacked = beside.unpacked(io.BytesIO(beside.packed(spans)))
    thin = [*(thinned.span(differences, *span) for differences, span in unpacked), thinned.finish()]

    assert b"".join(span.old for _, span in spans) == old
    assert b"".join(full) == b"".join(thin)


def added(old: bytes, difference: bytes) -> bytes:
    return bytes((a + b) % 256 for a, b in zip(old, difference, strict=True))


# ------------------------------------------------------------ without the package


@pytest.fixture
def no_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagedelta_native", None)


def test_without_the_package_a_patch_that_wants_it_is_refused(patch: bytes, no_native: None) -> None:
    with pytest.raises(UnsupportedFormat) as refusal:
        applied(patch, SOURCE)
    assert refusal.value.code == "patch.native"


def test_without_the_package_none_is_built(tmp_path, no_native: None) -> None:
    with pytest.raises(UnsupportedFormat) as refusal:
        a_patch(TARGET, SOURCE, scratch=tmp_path, profile=CM)
    assert refusal.value.code == "patch.native"


def test_without_the_package_all_else_works(tmp_path, no_native: None) -> None:
    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path, profile=PLAIN)

    assert not mixing.native_is_there()
    assert_rebuilt(TARGET, patch, SOURCE)


# ------------------------------------------------------------ what is refused


def changed(patch: bytes, role: Role, change: Callable[[PatchStream], PatchStream], tail: bytes = b"") -> bytes:
    """The patch with another row for a stream."""
    header = read_patch_header(io.BytesIO(patch))
    rows = tuple(change(row) if row.role is role else row for row in header.streams)
    return header_to_bytes(replace(header, streams=rows)) + patch[len(header_to_bytes(header)) :] + tail


def refusal_of(patch: bytes) -> str:
    with pytest.raises(ContentError) as refusal:
        applied(patch, SOURCE)
    return refusal.value.code


@pytest.mark.parametrize(
    ("role", "change", "code"),
    [
        (Role.DIFF, lambda row: replace(row, raw_bytes=row.raw_bytes - 1), "content.truncated"),
        (Role.DIFF, lambda row: replace(row, raw_bytes=row.raw_bytes + 1), "content.invalid"),
        (Role.DIFF, lambda row: replace(row, raw_bytes=row.raw_bytes << 20), "content.limit_exceeded"),
        (Role.DIFF, lambda row: replace(row, params=Params(bits=7)), "content.limit_exceeded"),
        (Role.DIFF, lambda row: replace(row, params=Params(bits=16)), "content.limit_exceeded"),
        (Role.DIFF, lambda row: replace(row, coder=MIXED_BYTES), "content.invalid"),
        (Role.EXTRA, lambda row: replace(row, coder=MIXED_DIFFERENCES), "content.invalid"),
        (Role.EXTRA, lambda row: replace(row, raw_bytes=row.raw_bytes - 1), "content.invalid"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    patch: bytes, role: Role, change: Callable[[PatchStream], PatchStream], code: str
) -> None:
    assert refusal_of(changed(patch, role, change)) == code


def test_damaged_bytes_never_make_another_image(patch: bytes) -> None:
    rnd = random.Random(6)
    header = read_patch_header(io.BytesIO(patch))
    for place in rnd.sample(range(len(header_to_bytes(header)), len(patch)), 25):
        damaged = bytearray(patch)
        damaged[place] ^= 1 << rnd.randrange(8)
        try:
            _, sink = applied(bytes(damaged), SOURCE)
        except ContentError as error:
            assert error.code.startswith("content.")
        else:  # the last coded bytes say a little more than they need to
            assert sink.layers == layers_of(TARGET)


def frame(data: bytes, bits: int = 10) -> bytes:
    return Mixed(bits).pack(data, 0)


LAYER = LITERAL[Role.LITERAL]


@pytest.mark.parametrize(
    ("coded", "code"),
    [
        (frame(LAYER)[:-1], "content.invalid"),
        (frame(LAYER)[:1], "content.invalid"),
        (frame(LAYER)[:2], "content.invalid"),
        (frame(LAYER) + b"\0", "content.invalid"),
        (frame(LAYER[:500]) + frame(LAYER[500:]), "content.invalid"),
        (leb128.encode(0) + leb128.encode(4) + bytes(4) + frame(LAYER), "content.invalid"),
        (leb128.encode(1 << 60) + frame(LAYER)[2:], "content.invalid"),
        (frame(LAYER + b"more"), "content.invalid"),
        (b"", "content.truncated"),
    ],
    ids=["cut", "head cut", "no bytes", "more", "short frame", "empty frame", "huge frame", "too long", "nothing"],
)
def test_frames_that_do_not_fit_are_refused(coded: bytes, code: str) -> None:
    assert refused(by_hand(LITERAL, coded={Role.LITERAL: (MIXED_BYTES, Params(bits=10), coded)})) == code


def test_frames_that_fit_are_taken() -> None:
    patch = by_hand(LITERAL, coded={Role.LITERAL: (MIXED_BYTES, Params(bits=10), frame(LAYER))})

    assert_rebuilt(HAND, patch, HAND_SOURCE)
