"""References in aarch64 code: what each instruction becomes when what it refers to moved."""

from __future__ import annotations

import random
import struct

import pytest

from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.predict.aarch64 import Aarch64
from imagedelta.delta.predict.image import Image, Segment, address_moves
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.shifts import Shifts, Stretch
from imagedelta.delta.predict.site import Run, Sites
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt
from tests.unit.delta.predict.arm_programs import (
    NEAR,
    NEAR_BY,
    PAGE,
    TESTED,
    USERS,
    an_arm_program,
    distance,
    near,
    paged,
    split,
)

CODE, DATA = 0x410000, 0x620000
SIZE = 0x8000
OLD = Image([Segment(0, CODE, SIZE, SIZE, executable=True), Segment(SIZE, DATA, SIZE, SIZE, executable=False)])
NEW = Image([
    Segment(0, CODE, SIZE + 0x5000, SIZE + 0x5000, executable=True),
    Segment(SIZE + 0x5000, DATA + 0x4000, SIZE, SIZE, executable=False),
])  # fmt: skip
MOVED, DATA_MOVED = 0x1238, 0x5000 + 0x4000 - 0x5000
"""By how much code from 0x4000 on moves, and data."""
STRETCHES = [Stretch(0, 0, 0x4000), Stretch(0x4000, 0x4000 + MOVED, SIZE - 0x4000), Stretch(SIZE, SIZE + 0x5000, SIZE)]
FIRST = Run(0, 0x4000, OLD.segments[0], 0)
NO_OPERATION = b"\x1f\x20\x03\xd5"


def predicted(code: bytes, start: int = 0, run: Run = FIRST) -> tuple[bytes, list[int]]:
    out, sites = bytearray(code), Sites(Aarch64.ALIGNED)
    sites.add(0, len(code), start, run)
    places = Aarch64(address_moves(OLD, NEW, Shifts(STRETCHES))).code(code, out, sites)
    return bytes(out), places


@pytest.mark.parametrize("name", NEAR_BY)
def test_a_branch_out_of_its_match_follows_its_target(name):
    code = near(CODE, CODE + 0x5000, name)

    assert predicted(code) == (near(CODE, CODE + 0x5000 + MOVED, name), [0])


def test_a_branch_on_a_bit_follows_its_target():
    run = Run(0, 8, OLD.segments[0], 0)
    code = struct.pack("<I", distance(TESTED, 5, 14, 0x1000 // 4))

    out, places = predicted(NO_OPERATION + code, run=run)

    assert (out[4:], places) == (code, [4])


@pytest.mark.parametrize("name", NEAR_BY)
def test_a_branch_backwards_follows_the_drift_of_its_site(name):
    run = Run(0x4000, SIZE, OLD.segments[0], MOVED)
    code = near(CODE + 0x5000, CODE + 0x10, name)

    assert predicted(code, 0x5000, run)[0] == near(CODE + 0x5000 + MOVED, CODE + 0x10, name)


def test_a_near_address_follows_its_target_to_the_byte():
    code = struct.pack("<I", split(NEAR, 0x4003))

    assert predicted(code)[0] == struct.pack("<I", split(NEAR, 0x4003 + MOVED))


@pytest.mark.parametrize("user", USERS)
def test_a_page_and_what_adds_to_it_follow_their_target(user):
    code = paged(CODE, DATA + 0x7F0, user, NO_OPERATION)

    assert predicted(code) == (paged(CODE, DATA + DATA_MOVED + 0x7F0, user, NO_OPERATION), [0, 8])


def test_all_that_add_to_a_page_follow_until_its_register_is_overwritten():
    add, load, store = 0x910000E7, 0xB94000E1, 0xF90000E2
    target = CODE + 0x4000
    old = paged(CODE, target, store) + paged(CODE, target, load)[4:] + paged(CODE, target, add)[4:]
    moved = target + MOVED
    new = paged(CODE, moved, store) + paged(CODE, moved, load)[4:] + paged(CODE, moved, add)[4:]
    behind = paged(CODE, target, load)[4:]

    out, places = predicted(old + behind)

    assert out == new + behind
    assert places == [0, 4, 8, 12]


@pytest.mark.parametrize(("words", "found"), [(31, [0, 128]), (32, [])])
def test_what_adds_to_a_page_is_sought_in_32_instructions(words, found):
    assert predicted(paged(CODE, DATA, 0x910000E7, NO_OPERATION * words))[1] == found


@pytest.mark.parametrize("word", [0x914000E7, 0x110000E7, 0x91000107, 0x390000C2, 0xD503201F, 0x00000007])
def test_what_does_not_add_to_the_page_leaves_it(word):
    code = struct.pack("<II", split(PAGE, 0x210), word)

    assert predicted(code) == (code, [])


@pytest.mark.parametrize("target", [CODE - 0x4000, CODE + SIZE, DATA + SIZE + 0x1000])
def test_a_target_outside_of_the_image_is_no_reference(target):
    code = near(CODE, target, "bl") + paged(CODE + 4, target, 0x910000E7)

    assert predicted(code) == (code, [])


def test_a_part_that_begins_between_instructions_has_those_that_are_whole():
    code = near(CODE + 0x104, CODE + 0x5000, "bl")

    out, places = predicted(b"\x94\x94\x94" + code + b"\x94\x94\x94", 0x101)

    assert (out[3:7], places) == (near(CODE + 0x104, CODE + 0x5000 + MOVED, "bl"), [3])


@pytest.mark.parametrize("length", range(4))
def test_a_part_of_no_whole_instruction_has_no_reference(length):
    assert predicted(b"\x94" * length, 1) == (b"\x94" * length, [])


PROGRAM = an_arm_program(2000)
CHANGED = an_arm_program(2000, {100: NO_OPERATION * 7, 1000: NO_OPERATION * 33, 1900: NO_OPERATION * 3})


def test_code_for_arm_that_only_moved_costs_a_tenth(tmp_path):
    source, target = an_image({"bin/app": PROGRAM}), an_image({"bin/app": CHANGED})

    patch, found = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v2-64m"])

    _, plain = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v1-64m"])
    assert_rebuilt(target, patch, source)
    assert found.bytes * 10 < plain.bytes


def test_every_branch_page_and_address_is_predicted():
    plain = difference(PROGRAM, CHANGED, 16)

    found = predicted_difference(plain, PROGRAM, CHANGED, 16)

    assert found.kinds & Kind.AARCH64
    wrong = len(found.difference) - found.difference.count(0)
    assert wrong * 50 < len(plain.difference) - plain.difference.count(0)


def test_masked_instructions_keep_what_they_do():
    """So that a call is not found where there is a jump."""
    code = bytearray(masked(PROGRAM, Kind.AARCH64))
    tops = {code[at + 3] for at in range(0x1000, 0x1000 + 68 * 2000, 4)}

    assert {0x94, 0x14, 0x54, 0xB4, 0x58, 0x37} <= tops
    assert masked(PROGRAM, Kind.AARCH64)[0x1000 + 24 : 0x1000 + 28] == struct.pack("<I", NEAR_BY["bl"])


@pytest.mark.parametrize("seed", range(8))
def test_damaged_programs_for_arm_are_rebuilt_or_sent_as_they_are(tmp_path, seed):
    chosen = random.Random(seed)
    old, new = bytearray(PROGRAM[:60_000]), bytearray(CHANGED[:60_000])
    for file in (old, new):
        for _ in range(8):
            at = chosen.randrange(18, chosen.choice((176, len(file))))
            file[at : at + 2] = chosen.choice([b"\xff\xff", b"\0\0", chosen.randbytes(2)])
    source, target = an_image({"bin/app": bytes(old)}), an_image({"bin/app": bytes(new)})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v2-64m"])

    assert_rebuilt(target, patch, source)
