"""Patches made by hand, of whatever streams a test gives: one layer of 1024 bytes, one source of two members."""

import io
import random

import pytest

from imagedelta.delta import BytesReader, apply_patch
from imagedelta.delta.format.coders import RAW, Params
from imagedelta.delta.format.header import PatchHeader, PatchStream, RebuiltLayer, SourceLayer, header_to_bytes
from imagedelta.delta.format.items import HEADLESS, Way
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ImageDeltaError
from imagedelta.leb128 import encode, zigzag
from imagedelta.limits import Limits
from tests.images import an_image
from tests.unit.delta.patches import MemorySink, layers_of

SOURCE = an_image({"a": random.Random(1).randbytes(30_000), "t": b"text\n" * 100})
CONFIGS = {SOURCE.image_id: SOURCE.image.config}
LAYER = random.Random(3).randbytes(1024)
HAND = an_image(LAYER)


def by_hand(
    streams: dict[Role, bytes], *, coded: dict[Role, tuple[int, Params, bytes]] | None = None, **changes
) -> bytes:
    """Return a patch of raw streams; ``coded`` overrides how one of them is coded."""
    streams = {Role.CONFIG: HAND.image.config, **streams}
    rows, data = [], b""
    for role in sorted(streams):
        number, params, packed = (coded or {}).get(role, (RAW, Params(), streams[role]))
        rows.append(PatchStream(role, number, params, len(streams[role]), len(packed)))
        data += packed
    fields = {
        "profile": "v1-64m",
        "target_image_id": HAND.image_id,
        "source_image_ids": (SOURCE.image_id,),
        "platform": "linux/amd64",
        "source_layers": (SourceLayer(0, 0, 2),),
        "layers": (RebuiltLayer(HAND.image.diff_ids[0], len(LAYER)),),
        "streams": tuple(rows),
        "scratch_bytes": 0,
        "config_bytes": len(HAND.image.config),
    }
    return header_to_bytes(PatchHeader(**{**fields, **changes})) + data


def signed(*values: int) -> bytes:
    return b"".join(encode(zigzag(value)) for value in values)


def plain(*values: int) -> bytes:
    return b"".join(map(encode, values))


LITERAL = {
    Role.ITEMS: bytes([Way.LITERAL | HEADLESS, Way.END | HEADLESS]),
    Role.LENGTHS: signed(1024, -1024),
    Role.LITERAL: LAYER,
}


def refused(patch: bytes, *sources, limits: Limits | None = None, **options) -> str:
    """Apply, and return the code of the refusal; nothing may be committed or left half-done."""
    sink = MemorySink()
    known = {diff_id: BytesReader(tar) for diff_id, tar in layers_of(*sources).items()}
    with pytest.raises(ImageDeltaError) as refusal:
        apply_patch(
            io.BytesIO(patch), known.__getitem__, CONFIGS.__getitem__, sink, limits=limits or Limits(), **options
        )
    assert (sink.half_done, sink.layers) == ([], {})
    return refusal.value.code
