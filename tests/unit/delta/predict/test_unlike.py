"""Noise inside of matches is sent as new bytes: it may be the same in other files, and never packs as differences."""

from __future__ import annotations

import random

from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.matches import Match
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.encode.unlike import without_unlike
from imagedelta.delta.format.profiles import PROFILES
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt
from tests.unit.delta.predict.programs import a_program

NOISE = random.Random(3).randbytes


def test_noise_in_a_match_is_left_out_of_it():
    changes = bytes(100) + NOISE(80).replace(b"\0", b"\1") + bytes(20) + b"\x10\0\0\0" * 40

    found = list(without_unlike([Match(1000, 2000, len(changes))], changes))

    assert found == [Match(1000, 2000, 100), Match(1180, 2180, 180)]


def test_numbers_that_moved_by_the_same_stay_in_their_match():
    changes = bytes(100) + b"\x10\x20" * 400 + bytes(8)
    match = Match(5, 7, len(changes))

    assert list(without_unlike([match], changes)) == [match]


def test_each_match_has_its_own_part_of_the_differences():
    noise = NOISE(200).replace(b"\0", b"\1")

    found = list(
        without_unlike([Match(0, 0, 50), Match(90, 50, 200), Match(300, 250, 9)], bytes(50) + noise + bytes(9))
    )

    assert found == [Match(0, 0, 50), Match(300, 250, 9)]


def test_a_certificate_of_all_files_of_a_release_is_sent_once(tmp_path):
    """Files of one size are subtracted: nothing else would find that their ends have nothing in common."""
    contents, certificate = [NOISE(400_000) for _ in range(6)], NOISE(3000)
    source = an_image({f"bin/{n}": one + NOISE(3000) for n, one in enumerate(contents)})
    target = an_image({f"bin/{n}": one + certificate for n, one in enumerate(contents)})

    patch, summary = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v2-64m"])

    assert_rebuilt(target, patch, source)
    assert summary.bytes < 2 * 3000


def test_noise_is_left_out_of_predicted_differences_too():
    inserted = {100: b"\x90" * 7, 900: b"\xcc" * 33}
    old, new = (a_program(5000, more) + NOISE(300) for more in ({}, inserted))

    found = predicted_difference(difference(old, new, 16), old, new, 16)

    assert found.kinds
    assert new[-290:-10] in found.extra
