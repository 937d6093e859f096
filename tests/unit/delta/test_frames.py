"""Frames of text coded against old text, made by hand: what a reader takes and what it refuses."""

from functools import cache

import pytest

from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.format.coders import LEAST_FRAME_BYTES, LZMA2_DICTIONARY, Params
from imagedelta.delta.format.header import RebuiltLayer
from imagedelta.delta.format.items import HEADLESS, Way
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.hand_made import SOURCE, by_hand, plain, refused, signed
from tests.unit.delta.patches import applied, layers_of
from tests.vectors.reader import Patch

OLD = {0: SOURCE.layers[0][512:30_512], 1: b"text\n" * 100}
"""Data of the two members of the source."""
NEW = b"a line that comes again and again\n" * 33_000
TARGET = an_image(NEW)
BOTH = plain(1) + signed(0) + plain(1) + signed(0)
"""Member 0 before the first frame, member 1 before the second."""


@cache
def frame(member: int, new: bytes) -> bytes:
    return dictionary_lzma.compress(OLD[member], new, 4 * MIB)


def a_patch_of(*frames: tuple[int, bytes], dictionaries: bytes = BOTH, dictionary: int = 4 * MIB) -> bytes:
    """Return a patch whose layer is ``NEW``.

    Args:
        frames: Of each the member that is its old text, and what it makes.
    """
    coded = b"".join(frame(member, new) for member, new in frames)
    streams = {
        Role.CONFIG: TARGET.image.config,
        Role.ITEMS: bytes([Way.OLD_TEXT | HEADLESS, Way.END | HEADLESS]),
        Role.LENGTHS: signed(len(NEW), -(-len(NEW) % 512) - 1024),
        Role.OLD_TEXT: NEW,
        Role.DICTIONARIES: dictionaries,
    }
    return by_hand(
        streams,
        coded={Role.OLD_TEXT: (LZMA2_DICTIONARY, Params(dictionary_bytes=dictionary), coded)},
        target_image_id=TARGET.image_id,
        layers=(RebuiltLayer(TARGET.image.diff_ids[0], len(NEW)),),
        config_bytes=len(TARGET.image.config),
    )


def halves(first: int) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    return (0, NEW[:first]), (1, NEW[first:])


@pytest.mark.parametrize("first", [LEAST_FRAME_BYTES, len(NEW) - 1], ids=["shortest", "all but a byte"])
def test_two_frames_are_taken_by_both_readers(first):
    patch = a_patch_of(*halves(first))

    _, sink = applied(patch, SOURCE)

    assert sink.layers == layers_of(TARGET)
    assert Patch(patch, layers_of(SOURCE), {SOURCE.image_id: SOURCE.image.config}).apply()[1] == layers_of(TARGET)


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (a_patch_of(*halves(LEAST_FRAME_BYTES - 1)), "content.invalid"),
        (a_patch_of(*halves(LEAST_FRAME_BYTES), dictionaries=plain(1) + signed(0)), "content.truncated"),
        (a_patch_of((0, NEW)), "content.invalid"),
        (a_patch_of(*halves(LEAST_FRAME_BYTES), dictionary=16 * 1024), "content.limit_exceeded"),
        (a_patch_of((0, NEW), dictionaries=plain(1) + signed(2)), "content.invalid"),
        (a_patch_of((0, NEW), dictionaries=plain(1) + signed(-1)), "content.invalid"),
        (a_patch_of((0, NEW), dictionaries=plain(1 << 60) + signed(0)), "content.truncated"),
    ],
    ids=[
        "a short frame before the last",
        "fewer dictionaries than frames",
        "dictionaries left over",
        "old text longer than the dictionary",
        "a member that there is none of",
        "a member before the first",
        "more dictionaries than there can be",
    ],
)
def test_frames_that_break_a_rule_are_refused(patch, code):
    assert refused(patch, SOURCE) == code
