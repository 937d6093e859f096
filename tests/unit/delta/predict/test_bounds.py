"""What a patch cannot make a device do with predictions: work or memory out of proportion to its size."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.decode import opening
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from imagedelta.delta.predict.bounds import LARGE, SMALL, Bounds
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import ALL, Kind
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Stretch
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import KIB, MIB
from tests.images import an_image
from tests.unit.delta.patches import a_patch, applied, assert_rebuilt, layers_of
from tests.unit.delta.predict import assemblies
from tests.unit.delta.predict.arm_programs import PAGE, split
from tests.unit.delta.predict.assemblies import Source, assembly, call, fat, root, tables_stream, tiny
from tests.unit.delta.predict.programs import a_library
from tests.vectors.raw_patch import laid_open

SECONDS_PER_MIB = 3.0
"""Of what a delta makes, on a slow machine; measured is a tenth."""
SECONDS_PER_CONTROL = 300e-6
"""And of each match, however short; measured is 20 to 60 µs."""


def crowded(size: int) -> bytes:
    """An assembly whose methods all begin within one long body, one byte after the other."""
    body, methods = fat(call(0x06000001) * (size // 5)), 4000
    data = bytearray(assembly(Source([("One", body), *((f"M{n}", tiny(b"\x2a")) for n in range(methods))])))
    table = data.index(struct.pack("<I", assemblies.SECTION_ADDRESS + 72), assemblies.SECTION_OFFSET + 72 + len(body))
    for row in range(methods):
        struct.pack_into("<I", data, table + row * 14, assemblies.SECTION_ADDRESS + 72 + row)
    return bytes(data)


def many_rows(size: int) -> bytes:
    """Metadata of a table of two bytes per row that names blobs within each other."""
    rows = [struct.pack("<H", 1 + row % 4000) for row in range(min(190_000, size // 8))]
    return root({"#~": tables_stream({17: rows}), "#Blob": b"\x7f" * 4100, "#rest": bytes(size - 2 * len(rows))})


def calls_everywhere(size: int) -> bytes:
    """A program of nothing but operands that point into it."""
    head = bytearray(a_library(20)[:START_BYTES])
    struct.pack_into("<QQQQQ", head, 64 + 8, 0, 0x401000, 0x401000, size, size)
    code = b"".join(b"\xe8" + struct.pack("<i", at * 7919 % size - at) for at in range(0, size - START_BYTES, 5))
    return (bytes(head) + code)[:size]


def pages_everywhere(size: int) -> bytes:
    """A program for aarch64 of nothing but pages and what adds to them, as far behind as it may be."""
    head = bytearray(a_library(20)[:START_BYTES])
    struct.pack_into("<QQQQQ", head, 64 + 8, 0, 0x401000, 0x401000, size, size)
    pages = b"".join(
        split(PAGE + at % 20, 1).to_bytes(4, "little") + (0xF90000FF).to_bytes(4, "little") for at in range(size // 8)
    )
    return (bytes(head) + pages)[:size]


def relocations_everywhere(size: int) -> bytes:
    """A library whose tables are as large as they may be."""
    return a_library(size // 400)


def frames_everywhere(size: int) -> bytes:
    """A library of nothing but descriptions of functions, as short as they may be."""
    data = bytearray(a_library(20).ljust(size, b"\0"))
    headers = int.from_bytes(data[40:48], "little")
    data[size - 512 :] = data[headers : headers + 512]
    struct.pack_into("<Q", data, 40, size - 512)
    count = (size - START_BYTES - 1024) // 5
    struct.pack_into("<QQ", data, size - 512 + 4 * 64 + 24, START_BYTES, 5 * count)
    struct.pack_into("<Q", data, size - 512 + 7 * 64 + 24, size - 600)
    data[size - 600 : size - 589] = b"\0.eh_frame\0"
    data[START_BYTES : START_BYTES + 5 * count] = b"\1\0\0\0\1" * count
    return bytes(data)


def sections_everywhere(size: int) -> bytes:
    """A library of as many small tables as there may be, each of symbols or of relocations."""
    data, headers = bytearray(a_library(20).ljust(size, b"\0")), size - 128 * 64
    struct.pack_into("<Q", data, 40, headers)
    struct.pack_into("<HHH", data, 58, 64, 128, 0)
    each = (headers - START_BYTES) // 128 // 24 * 24
    for number in range(128):
        place = START_BYTES + each * number
        struct.pack_into(
            "<IIQQQQIIQQ", data, headers + 64 * number, 0, 2 + number % 2 * 2, 0, 0, place, each, 0, 0, 0, 0
        )
    for place in range(START_BYTES, START_BYTES + 128 * each, 24):
        struct.pack_into("<QQQ", data, place, 0x401000 + place % 999, 0x401000 + place % 997, 8)
    return bytes(data)


FILES: dict[str, Callable[[int], bytes]] = {
    "bodies within bodies": crowded,
    "rows and blobs": many_rows,
    "calls": calls_everywhere,
    "pages": pages_everywhere,
    "tables": relocations_everywhere,
    "frames": frames_everywhere,
    "sections": sections_everywhere,
}


def scattered(size: int, count: int, seed: int) -> Controls:
    """Controls that jump about in a base."""
    chosen, controls, at = random.Random(seed), [], 0
    length = size // count
    for _ in range(count):
        place = chosen.randrange(size - length)
        controls += [(0, 0, place - at), (length, 0, 0)]
        at = place + length
    return Controls(0, controls)


def one_byte_each(size: int, count: int) -> Controls:
    """Controls of one byte each, behind the start of the file, all over its rest."""
    places = [START_BYTES, *(random.Random(3).randrange(START_BYTES, size) for _ in range(count))]
    between = [(1, 0, after - place - 1) for place, after in pairwise(places[1:])]
    return Controls(0, [(START_BYTES, 0, places[1] - START_BYTES), *between, (1, 0, 0)])


def run(old: bytes, controls: Controls, kinds: Kind = ALL) -> int:
    prediction = Prediction(kinds, [1 << 40] * 67, Extent(BytesReader(old), 0, len(old)), controls)
    prediction.show(old[:START_BYTES])
    made = 0
    for match in controls.matches():
        for part in prediction.parts(match):
            made += len(prediction.predicted(part).data)
    return made


@pytest.mark.parametrize("kind", FILES)
def test_time_follows_the_size(kind: str) -> None:
    old = FILES[kind](400 * KIB)
    controls = scattered(len(old), 4000, seed=3)

    begun = time.process_time()
    made = run(old, controls, ALL & ~Kind.AARCH64 if kind == "calls" else ALL)
    spent = time.process_time() - begun

    assert made <= len(old)
    assert spent < SECONDS_PER_MIB * len(old) / MIB + 0.5


@pytest.mark.parametrize("kind", FILES)
def test_a_control_of_one_byte_takes_microseconds_wherever_it_is(kind: str) -> None:
    """What a file is full of is looked up for each of them."""
    old, count = FILES[kind](48 * KIB), 8000
    controls = one_byte_each(len(old), count)

    begun = time.process_time()
    run(old, controls)
    spent = time.process_time() - begun

    assert spent < SECONDS_PER_CONTROL * count + 0.5


@pytest.mark.parametrize(
    ("kind", "size", "more"), [("bodies within bodies", 256 * KIB, 2 * MIB), ("rows and blobs", 2 * MIB, 12 * MIB)]
)
def test_a_base_of_net_takes_twice_its_size_and_what_its_rows_do(kind: str, size: int, more: int) -> None:
    old = FILES[kind](size)
    controls = scattered(len(old), 3000, seed=4)

    tracemalloc.start()
    run(old, controls)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * len(old) + more


def test_controls_take_two_hundred_bytes_each():
    """As many as there may be take 25 MiB."""
    old, count = calls_everywhere(MIB // 4), LARGE.controls // 16

    tracemalloc.start()
    base = Extent(BytesReader(old), 0, len(old))
    prediction = Prediction(Kind.CODE, (), base, scattered(len(old), count // 2, 5))
    prediction.show(old[:START_BYTES])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 200 * count


def test_more_controls_than_may_be_are_refused(tmp_path, monkeypatch):
    old, new = a_library(300), a_library(300, {30: b"\x90" * 7, 200: b"\xcc" * 33})
    source = an_image({"a.so": old})
    patch, _ = a_patch(an_image({"a.so": new}), source, scratch=tmp_path, profile=PROFILES["v2-64m"])
    monkeypatch.setattr(opening, "bounds_of", lambda is_small: replace(LARGE, controls=2))

    with pytest.raises(LimitExceeded, match="more than 2 controls"):
        applied(patch, source)


def test_a_patch_of_the_small_class_is_held_to_a_quarter(tmp_path, monkeypatch):
    monkeypatch.setattr("imagedelta.delta.predict.bounds.SMALL", replace(SMALL, controls=2))
    source, target = an_image({"a.so": a_library(300)}), an_image({"a.so": a_library(300, {30: b"\x90" * 7})})
    patch, _ = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v2-64m"])
    small = laid_open(patch, layers_of(source), {source.image_id: source.image.config}).with_head(profile="v2-16m")

    applied(patch, source)
    with pytest.raises(LimitExceeded, match="more than 2 controls"):
        applied(small.to_bytes(), source)


@pytest.mark.parametrize("name", ["v2-16m", "v2-16m-nofold"])
def test_a_builder_keeps_the_bounds_of_the_class(tmp_path, monkeypatch, name):
    monkeypatch.setattr("imagedelta.delta.predict.bounds.SMALL", replace(SMALL, tables_bytes=10))
    source, target = an_image({"a.so": a_library(300)}), an_image({"a.so": a_library(300, {30: b"\x90" * 7})})

    patch, summary = a_patch(target, source, scratch=tmp_path, profile=PROFILES[name])

    opened = laid_open(patch, layers_of(source), {source.image_id: source.image.config})
    kinds = opened.streams[Role.PREDICTIONS][0]
    assert (kinds & Kind.CODE, kinds & Kind.TABLES) == (Kind.CODE, 0)
    assert 4 * MIB < summary.memory_bytes <= PROFILES[name].decoder_bytes
    assert_rebuilt(target, patch, source)


@pytest.mark.parametrize(
    ("bounds", "kinds", "length", "base"),
    [
        (LARGE, Kind.CODE, 10, 41),
        (LARGE, Kind.CLR, 1 << 30, 12 * MIB + 1),
        (SMALL, Kind.CLR, 1 << 30, 3 * MIB + 1),
        (SMALL, Kind.CODE | Kind.TABLES, 1 << 30, 4 * MIB + 1),
    ],
)
def test_a_base_that_is_too_large_to_predict_is_refused(bounds: Bounds, kinds: Kind, length: int, base: int) -> None:
    bounds.check(kinds, length, base - 1)

    with pytest.raises(LimitExceeded):
        bounds.check(kinds, length, base)


@pytest.mark.parametrize("controls", [[(5, 0, 0)], [(0, 1, -2), (1, 0, 0)], [(1, 0, 1 << 40), (1, 0, 0)]])
def test_a_match_outside_the_base_is_refused(controls):
    with pytest.raises(ContentError, match="does not have"):
        Prediction(Kind.CODE, (), Extent(BytesReader(b"four"), 0, 4), Controls(0, controls))


def test_controls_that_move_beyond_any_file_and_back_are_in_it_where_they_match():
    far = (1 << 48) - 1
    away, back = [(0, 1, far)] * 40_000, [(0, 1, -far)] * 40_000

    controls = Controls(1, [*away, *back, (3, 0, 0)])

    assert list(controls.matches()) == [Stretch(1, 80_000, 3)]
    assert controls.are_within(4)
    assert not controls.are_within(3)
    assert not Controls(1, [*away, (3, 0, 0)]).are_within(1 << 62)
