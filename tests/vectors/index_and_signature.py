"""Vectors of the file index and the signature: one good of each, bad ones named by the rule they break.

The numbers in the names are the rules of section 8 in docs/formats/index.md and signature.md.
``python -m tests.vectors.index_and_signature`` writes them; a test compares them with what is committed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import zstandard

from imagedelta.archives import image_from_config, sha256_id
from imagedelta.signatures import LayerIndex, index_layer, sign
from imagedelta.signatures.index_codec import HEADER
from tests.images import BuiltImage, a_layer, an_image

HERE = Path(__file__).parent
LAYER = a_layer({"etc/": b"", "etc/os-release": b"ID=demo\n", "sh": b"-> busybox"})
CODES = {
    "good": "",
    "bad-1": "content.unsupported",
    "bad-2": "content.truncated",
    "bad-3": "content.limit_exceeded",
    "bad-4": "content.invalid",
    "bad-5": "content.invalid",
    "bad-6": "content.invalid",
    "bad-7": "content.invalid",
    "bad-8": "content.invalid",
    "bad-9": "content.invalid",
}


def built() -> BuiltImage:
    """The image that both documents use as their example."""
    return an_image(LAYER)


def index() -> LayerIndex:
    """Its file index."""
    return index_layer(built().open_layer(0))


def index_vectors() -> dict[str, bytes]:
    """Return the vectors of docs/formats/index.md by file name."""
    good = index().to_bytes()
    magic, version, diff_id, size, members, _, packed, structure = HEADER.unpack_from(good)
    columns = zstandard.decompress(good[HEADER.size : HEADER.size + packed])
    tail = good[HEADER.size + packed :]

    def with_structure(data: bytes) -> bytes:
        frame = zstandard.compress(data)
        head = HEADER.pack(magic, version, diff_id, size, members, len(columns), packed, len(data))
        return head + good[HEADER.size : HEADER.size + packed] + struct.pack("<I", len(frame)) + frame

    def made(columns: bytes, *, members: int = members, unpacked: int | None = None, size: int = size) -> bytes:
        stated = len(columns) if unpacked is None else unpacked
        frame = zstandard.compress(columns)
        return HEADER.pack(magic, version, diff_id, size, members, stated, len(frame), structure) + frame + tail

    return {
        "good.imdi": good,
        "bad-1-version.imdi": good[:4] + b"\x01" + good[5:],
        "bad-2-cut-header.imdi": good[:60],
        "bad-3-too-many-members.imdi": made(columns, members=1_000_001),
        "bad-4-other-length.imdi": made(columns, unpacked=len(columns) + 1),
        "bad-4-damaged-frame.imdi": good[: HEADER.size] + bytes(4) + good[HEADER.size + 4 :],
        "bad-4-second-frame.imdi": good + zstandard.compress(b"more"),
        "bad-5-column-too-long.imdi": made(columns + b"\0"),
        "bad-6-unknown-kind.imdi": made(b"\x08" + columns[1:]),
        "bad-7-past-the-end.imdi": made(columns, size=size - 2048),
        "bad-8-unknown-extra.imdi": made(columns[:-1] + b"\x20"),
        "bad-8-nine-values.imdi": made(columns[:-1] + b"\x09" + bytes(36)),
        "bad-8-falling-sketch.imdi": made(columns[:-1] + b"\x02" + struct.pack("<2I", 7, 5)),
        "bad-8-equal-values.imdi": made(columns[:-1] + b"\x02" + struct.pack("<2I", 7, 7)),
        "bad-9-less-structure.imdi": with_structure(bytes(structure - 1)),
        "bad-9-more-structure.imdi": with_structure(bytes(structure + 512)),
    }


def signature_vectors() -> dict[str, bytes]:
    """Return the vectors of docs/formats/signature.md by file name."""
    good = sign(image_from_config(built().image.config), [index()]).to_bytes()
    layers = struct.pack("<H", 128)
    return {
        "good.imds": good,
        "bad-1-magic.imds": b"IMDX" + good[4:],
        "bad-2-cut.imds": good[:-1],
        "bad-2-longer.imds": good + b"\0",
        "bad-3-too-many-layers.imds": good[:6] + layers + good[8:],
        "bad-4-threshold.imds": good[:48] + struct.pack("<d", float("nan")) + good[56:],
        "bad-5-platform.imds": good[:66] + b"\xff" + good[67:],
        "bad-6-sketches.imds": good[:60] + struct.pack("<HI", 8, 0) + good[66:],
    }


def vectors() -> dict[Path, bytes]:
    """Return all of them by path."""
    named = {HERE / "index" / name: data for name, data in index_vectors().items()}
    return named | {HERE / "signature" / name: data for name, data in signature_vectors().items()}


if __name__ == "__main__":
    for path, data in vectors().items():
        path.write_bytes(data)
    print(sha256_id(LAYER))
