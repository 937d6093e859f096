"""Numbers of a patch that no builder writes: too large for what is made of them, or that end in bytes nobody needs."""

from __future__ import annotations

import hashlib

import pytest

from imagedelta.delta.format.header import RebuiltLayer
from imagedelta.delta.format.items import HEADLESS, KEEP, MARKED, Way
from imagedelta.delta.format.roles import Role
from imagedelta.delta.predict.kinds import Kind
from tests.images import an_image
from tests.unit.delta.hand_made import CONFIGS, LAYER, SOURCE, by_hand, plain, refused, signed
from tests.unit.delta.patches import MemorySink, applied, layers_of
from tests.vectors.reader import Patch

V2 = "v2-64m"
HUGE = [1 << 40, 1 << 63, 1 << 64, (1 << 70) - 1]
_MD5, _FILLED = 1, 4
_END = HEADLESS | Way.END


@pytest.mark.parametrize("gap", HUGE)
def test_a_digest_that_is_beyond_all_files_is_refused(gap: int) -> None:
    item = HEADLESS | MARKED | Way.LITERAL
    streams = {
        Role.ITEMS: bytes([item, item, _END]),
        Role.LENGTHS: signed(512, 512, -1024),
        Role.LITERAL: LAYER,
        Role.DIGESTS: plain(_MD5) + signed(512) + plain(_FILLED) + signed(512) + plain(1, gap, 0),
    }

    assert refused(by_hand(streams, profile=V2), SOURCE) == "content.invalid"


@pytest.mark.parametrize("kinds", [Kind.NONE, Kind.CODE, Kind.CLR])
@pytest.mark.parametrize("length", HUGE[:-1])
def test_a_folded_item_that_unfolds_to_more_than_deflate_packs_is_refused(length: int, kinds: Kind) -> None:
    streams = {
        Role.ITEMS: bytes([HEADLESS | Way.FOLDED, HEADLESS | Way.DELTA, _END]),
        Role.LENGTHS: signed(1024, length - 1024, 0, -1024),
        Role.BASES: plain(0),
        Role.FOLDS: plain(0),
        Role.OFFSETS: signed(0),
        Role.PREDICTIONS: plain(kinds) + (plain(0) if kinds is Kind.CLR else b""),
        Role.DIFF_LENGTHS: plain(length),
        Role.EXTRA_LENGTHS: plain(0),
        Role.SEEKS: signed(0),
        Role.DIFF: bytes(8),
        Role.ZEROS: plain(length - 8),
    }

    assert refused(by_hand(streams, profile=V2), SOURCE) == "content.limit_exceeded"


def test_a_digest_in_bytes_that_are_not_needed_leaves_those_behind_it_as_they_are() -> None:
    """The layer of a list is there already, and of the list only the end is needed, because it occurs again."""
    copied = SOURCE.layers[0][512 : 512 + 100]
    digest = hashlib.md5(LAYER[:512]).hexdigest().encode()
    listed = copied[:10] + digest + copied[42:]
    target = an_image(LAYER[:512] + listed + LAYER[612:], LAYER[612:])
    streams = {
        Role.CONFIG: target.image.config,
        Role.ITEMS: bytes(
            [
                *(HEADLESS | MARKED | Way.LITERAL, HEADLESS | MARKED | Way.COPY, HEADLESS | KEEP | Way.LITERAL, _END),
                *(HEADLESS | Way.KEPT, _END),
            ]
        ),
        Role.BASES: signed(0),
        Role.OFFSETS: signed(-512, 0),
        Role.LENGTHS: signed(512, 100, 412, -1024, 412, -1024 - 100),
        Role.LITERAL: LAYER[:512] + LAYER[612:],
        Role.DIGESTS: plain(_MD5) + signed(512) + plain(_FILLED) + signed(512) + plain(1, 10, 0),
    }
    patch = by_hand(
        streams,
        profile=V2,
        target_image_id=target.image_id,
        layers=tuple(RebuiltLayer(name, len(tar)) for name, tar in layers_of(target).items()),
        config_bytes=len(target.image.config),
        scratch_bytes=412,
    )
    lower = target.image.diff_ids[0]

    for there in ({}, {lower: target.layers[0]}):
        assert applied(patch, SOURCE, sink=MemorySink(there))[1].layers == layers_of(target)
    assert Patch(patch, layers_of(SOURCE), CONFIGS).apply() == (target.image.config, layers_of(target))
