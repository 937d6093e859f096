"""Predictions of the device's code and of the second reader, which was written from the document, are the same."""

from __future__ import annotations

import random
import struct

import pytest

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.matches import matches
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.old import Part, Predicted
from imagedelta.delta.predict.prediction import START_BYTES, Prediction
from imagedelta.delta.predict.shifts import Stretch
from tests.unit.delta.predict.arm_programs import an_arm_program
from tests.unit.delta.predict.assemblies import Source, assembly, call, fat, pdb, ready_to_run
from tests.unit.delta.predict.programs import a_library, a_program, operands
from tests.vectors.predicted import Delta

BODIES = [(f"Method{n}", fat(call(0x0A000001 + n % 50) + call(0x06000001 + n) + b"\x17" * (n % 7))) for n in range(160)]
MOVED = [("Added", fat(b"\x2a" * 9)), *BODIES[:80], ("Too", fat(b"\x00" * 30)), *BODIES[80:]]
MEMBERS = [f"Member{n}" for n in range(50)]
VARIABLES = [f"variable{n}" for n in range(500)]
PAIRS = {
    "a program": (a_program(400), a_program(400, {100: b"\x90" * 7, 300: b"\xcc" * 33})),
    "a library": (a_library(300), a_library(300, {30: b"\x90" * 7, 200: b"\xcc" * 33})),
    "operands": (operands(b""), operands(b"moved by it")),
    "a program for arm": (an_arm_program(300), an_arm_program(300, {90: b"\x1f\x20\x03\xd5" * 7, 200: b"\xcc" * 33})),
    "an assembly": (assembly(Source(BODIES, MEMBERS)), assembly(Source(MOVED, ["Put in", *MEMBERS], ["More"]))),
    "symbols of an assembly": (pdb(400, VARIABLES), pdb(400, ["first", *VARIABLES], first_variable=2)),
    "machine code of .NET": (
        ready_to_run(Source(BODIES, MEMBERS), 90), ready_to_run(Source(MOVED, ["Put in", *MEMBERS]), 97),
    ),
}  # fmt: skip
KINDS = (255, 127, 63, 1, 2, 4, 8, 16, 17, 33, 73, 95, 128, 206)


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("pair", PAIRS)
def test_both_predict_the_same(pair: str, kinds: int) -> None:
    old, new = PAIRS[pair]
    found = [Stretch(match.old, match.new, match.length) for match in matches(old, new)]

    assert_same(kinds, old, new, found, [3, -2, 0, 40])


@pytest.mark.parametrize("kinds", (255, 127, 111, 95))
@pytest.mark.parametrize("seed", range(14))
@pytest.mark.parametrize("pair", PAIRS)
def test_both_predict_the_same_of_damaged_files(pair: str, seed: int, kinds: int) -> None:
    chosen = random.Random(f"{pair} {seed}")
    files = [bytearray(file) for file in PAIRS[pair]]
    for file in files:
        for _ in range(chosen.choice((1, 4, 40))):
            at = chosen.randrange(chosen.choice((400, len(file))))
            file[at : at + 2] = chosen.choice([b"\xff\xff", b"\0\0", chosen.randbytes(2), struct.pack("<H", len(file))])
    old, new = map(bytes, files)
    found, made = [], 0
    while made < len(new) - 200:
        length = min(chosen.randrange(1, 9000), len(old), len(new) - made)
        found.append(Stretch(chosen.randrange(len(old) - length + 1), made, length))
        made += length + chosen.choice((0, 0, 5, 100))

    assert_same(kinds, old, new, found, [chosen.randrange(-99, 99) for _ in range(chosen.randrange(12))])


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 9])
@pytest.mark.parametrize("pair", PAIRS)
def test_both_predict_the_same_of_matches_of_a_few_bytes(pair: str, length: int) -> None:
    """Such a part has no whole number at a place that is a multiple of its width."""
    old, new = PAIRS[pair]
    start, end = Stretch(0, 0, START_BYTES), min(len(old), len(new)) - length
    found = [start, *(Stretch(at, at, length) for at in range(START_BYTES, end, length + 331))]

    for kinds in (127, 255):
        assert_same(kinds, old, new, found, [])


def assert_same(kinds: int, old: bytes, new: bytes, found: list[Stretch], corrections: list[int]) -> None:
    moves, at_old, at_new = [], 0, 0
    for match in found:  # each control has no extra bytes but those before its match
        moves += [(0, match.new - at_new, match.old - at_old), (match.length, 0, 0)]
        at_old, at_new = match.old + match.length, match.new + match.length
    controls = Controls(0, moves)
    ours = Prediction(Kind(kinds), corrections, Extent(BytesReader(old), 0, len(old)), controls)
    other = Delta(kinds, corrections, old, [tuple(match) for match in found])
    ours.show(new[:START_BYTES])
    if len(new) >= START_BYTES:
        other.begin(new[:START_BYTES])

    parts = []
    for match in found:
        before = max(0, min(match.length, START_BYTES - match.new))
        data, numbers = b"", []
        for part in ours.parts(match):
            predicted = ours.predicted(part)
            if part.predicted:
                parts.append((part, predicted))
                numbers += [
                    (len(data) + at, width)
                    for width, places in ((4, predicted.words), (8, predicted.longs))
                    for at in places
                ]
                data += predicted.data
        if match.length > before:
            rest = (match.old + before, match.new + before, match.length - before)
            theirs, places = other.predicted(rest)
            assert data == theirs
            assert sorted(numbers) == sorted(places)
    assert_same_together(ours, parts)


def assert_same_together(ours: Prediction, parts: list[tuple[Part, Predicted]]) -> None:
    """Parts that are predicted at once are what they are one by one."""
    for start, size in [(0, 3), (3, 1), (4, 40), (44, 1000)]:
        group, data, words, longs = parts[start : start + size], b"", [], []
        for _, one in group:
            words += [len(data) + at for at in one.words]
            longs += [len(data) + at for at in one.longs]
            data += one.data
        if group:
            made = ours.together([part for part, _ in group])
            assert made.data == data
            assert (sorted(made.words), sorted(made.longs)) == (sorted(words), sorted(longs))
