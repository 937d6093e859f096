"""Patches whose references are predicted: what they cost, and what a device makes of damaged ones."""

import random
import struct
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind, kinds_of
from imagedelta.errors import ImageDeltaError, UnsupportedFormat
from tests.images import an_image
from tests.unit.delta.patches import a_patch, applied, assert_rebuilt, streams_of
from tests.unit.delta.predict.programs import a_program, operands

V1, V2 = PROFILES["v1-64m"], PROFILES["v2-64m"]
OLD = a_program(3000)
NEW = a_program(3000, {100: b"\x90" * 7, 1500: b"\xcc" * 33, 2900: b"\x55" * 3})


def test_code_that_only_moved_costs_a_tenth(tmp_path):
    source, target = an_image({"bin/app": OLD}), an_image({"bin/app": NEW})

    patch, predicted = a_patch(target, source, scratch=tmp_path, profile=V2)

    _, plain = a_patch(target, source, scratch=tmp_path, profile=V1)
    assert_rebuilt(target, patch, source)
    assert predicted.bytes * 10 < plain.bytes


def test_every_call_and_address_that_moved_is_predicted():
    plain = difference(OLD, NEW, 16)

    found = predicted_difference(plain, OLD, NEW, 16)

    assert found.kinds
    wrong = len(found.difference) - found.difference.count(0)
    assert wrong * 20 < len(plain.difference) - plain.difference.count(0)


def test_every_operand_of_a_program_at_a_fixed_address_is_predicted():
    old, new = operands(b""), operands(b"moved by it")
    plain = difference(old, new, 16)

    found = predicted_difference(plain, old, new, 16)

    assert found.kinds & Kind.IMMEDIATES
    assert not any(found.difference[4096:12288])
    assert plain.difference[4096:12288].count(0) < 7800


def test_code_that_moved_between_files_of_one_size_is_sought():
    """Such files are subtracted, where they differ in little."""
    old, new = a_program(7000, {5000: b"\x90" * 16}), a_program(7000, {5050: b"\x90" * 16})
    plain = difference(old, new, 16)
    assert len(plain.controls) == 1

    assert predicted_difference(plain, old, new, 16).cost() * 5 < plain.cost()


@pytest.mark.parametrize("other", [b"text, and no program", OLD[:5] + b"\2" + OLD[6:], OLD[:3000]])
def test_what_is_no_program_is_not_predicted(other):
    plain = difference(other, NEW, 16)

    assert predicted_difference(plain, other + bytes(5000), NEW[:18] + b"\0" + NEW[19:], 16) is plain


def test_a_patch_of_the_first_profile_has_no_predictions(tmp_path):
    patch, _ = a_patch(an_image({"bin/app": NEW}), an_image({"bin/app": OLD}), scratch=tmp_path, profile=V1)

    assert Role.PREDICTIONS not in streams_of(patch)


@pytest.mark.parametrize("seed", range(12))
def test_programs_with_wild_headers_are_rebuilt_or_sent_as_they_are(tmp_path, seed):
    chosen = random.Random(seed)
    old, new = bytearray(OLD[:60_000]), bytearray(NEW[:60_000])
    for file in (old, new):
        for _ in range(4):
            at = chosen.randrange(18, 176)
            file[at : at + 2] = chosen.choice([b"\xff\xff", b"\0\0", chosen.randbytes(2)])
    source, target = an_image({"bin/app": bytes(old)}), an_image({"bin/app": bytes(new)})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=V2)

    assert_rebuilt(target, patch, source)


SMALL = an_image({"bin/app": OLD[:60_000]}), an_image({"bin/app": NEW[:60_000]})


@cache
def a_small_patch() -> bytes:
    source, target = SMALL
    with TemporaryDirectory() as folder:
        return a_patch(target, source, scratch=Path(folder), profile=V2)[0]


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_patch_is_refused_or_makes_its_image(seed):
    chosen = random.Random(seed)
    patch = bytearray(a_small_patch())
    source, target = SMALL
    first = 17 + int.from_bytes(patch[9:13], "little")
    patch[chosen.randrange(first, len(patch))] ^= 1 << chosen.randrange(8)

    try:
        made, _ = applied(bytes(patch), source)
    except ImageDeltaError as error:
        assert error.code.startswith(("content", "source"))
    else:
        assert made.image_id == target.image_id


def test_an_unknown_kind_is_unsupported():
    with pytest.raises(UnsupportedFormat):
        kinds_of(256)


@pytest.mark.parametrize("cut", [*range(64), 100, 175])
def test_a_header_that_is_cut_tells_no_segments(cut):
    assert read_elf(OLD[:cut]) is None


def test_segments_that_overlap_count_once():
    head = bytearray(OLD[:176])
    struct.pack_into("<Q", head, 64 + 56 + 16, 0x401008)

    image = read_elf(bytes(head))

    assert isinstance(image, Image)
    assert len(image.segments) == 1


def test_predicting_counts_as_memory_of_the_patch(tmp_path):
    """So that what a device is sent fits what it said it has."""
    source, target = an_image({"bin/app": OLD}), an_image({"bin/app": NEW})

    _, predicted = a_patch(target, source, scratch=tmp_path, profile=V2)

    assert V2.predicting_bytes < predicted.memory_bytes <= V2.decoder_bytes


def test_a_patch_of_new_files_alone_predicts_nothing_and_takes_no_memory_for_it(tmp_path):
    _, summary = a_patch(an_image({"bin/app": NEW}), scratch=tmp_path, profile=V2)

    assert summary.memory_bytes < V2.predicting_bytes


def test_deltas_of_which_none_is_predicted_take_no_memory_for_it_either(tmp_path):
    chance = random.Random(3)
    old = chance.randbytes(20_000)
    new = old[:9000] + b"other" + old[9003:]
    source, target = an_image({"data": old}), an_image({"data": new})

    patch, summary = a_patch(target, source, scratch=tmp_path, profile=V2)

    assert (Role.DIFF_LENGTHS in streams_of(patch), Role.PREDICTIONS in streams_of(patch)) == (True, False)
    assert summary.memory_bytes < V2.predicting_bytes
    assert_rebuilt(target, patch, source)
