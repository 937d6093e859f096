"""Damaged file indexes, signatures and bundles: refused with a code, or consistent in what they say."""

from __future__ import annotations

import contextlib
import io
import random
import struct
from dataclasses import astuple
from functools import cache

import zstandard

from imagedelta.bundles import check_chunk_list, parse_head, read_bundle, read_shared
from imagedelta.bundles.zip_layout import BundleParts, head_bytes, pack_json, tail_bytes
from imagedelta.errors import ImageDeltaError, LimitExceeded
from imagedelta.limits import MIB, Limits
from imagedelta.signatures import LayerIndex, Signature, index_layer, sign
from imagedelta.signatures.index_codec import HEADER
from imagedelta.signatures.structure import NotStructure
from tests.fuzz.mutations import mutated
from tests.unit.bundles.bundles import PATCH, TRUSTED, a_bundle, a_head, a_shared
from tests.unit.delta import tar_kinds as kinds
from tests.vectors import make
from tests.vectors.index_and_signature import index, signature_vectors
from tests.vectors.index_reader import Index

ACCEPTED = "accepted"
_LIMITS = Limits(max_index_bytes=MIB, max_layer_files=5000, max_structure_bytes=4 * MIB)


def index_bytes(rng: random.Random) -> str:
    """An index with damage anywhere."""
    return _index_outcome(mutated(rng, rng.choice(_indexes())))


def index_columns(rng: random.Random) -> str:
    """An index whose frames are right, with damage to header fields or unpacked columns."""
    data = rng.choice(_indexes())
    magic, version, diff_id, *numbers = HEADER.unpack_from(data)
    size, members, _, packed, structure = numbers
    columns = zstandard.decompress(data[HEADER.size : HEADER.size + packed])
    tail = data[HEADER.size + packed :]
    if rng.random() < 0.8:
        columns = mutated(rng, columns)
    else:
        fields = [size, members, structure]
        fields[rng.randrange(3)] += rng.choice((-512, -1, 1, 512, 1 << 40))
        size, members, structure = (max(0, field) for field in fields)
    frame = zstandard.compress(columns)
    return _index_outcome(
        HEADER.pack(magic, version, diff_id, size, members, len(columns), len(frame), structure) + frame + tail
    )


def signature(rng: random.Random) -> str:
    """A damaged signature; one that is taken says the same after it was stored once more."""
    try:
        read = Signature.from_bytes(mutated(rng, rng.choice(_signatures())))
    except ImageDeltaError as error:
        return error.code
    assert Signature.from_bytes(read.to_bytes()) == read
    return ACCEPTED


def bundle(rng: random.Random) -> str:
    """A damaged bundle, whose seal must still hold."""
    try:
        opened = read_bundle(io.BytesIO(mutated(rng, _BUNDLE)), TRUSTED)
        opened.verify_patch_digest()
    except ImageDeltaError as error:
        return error.code
    assert (opened.head, opened.patch.read()) == (a_head(), PATCH), "another bundle was accepted"
    return ACCEPTED


def unsealed_bundle(rng: random.Random) -> str:
    """A bundle with any ``bundle.json``, read without a seal: what it says of its patch must hold."""
    json = mutated(rng, a_head().to_bytes())
    crc, size = struct.unpack("<IQ", rng.randbytes(12)) if rng.random() < 0.2 else (0, len(PATCH))
    try:
        parts = BundleParts(pack_json(json), json, b"", crc, size)
        data = head_bytes(parts) + PATCH + tail_bytes(parts)
        opened = read_bundle(io.BytesIO(data), None)
        opened.verify_patch_digest()
    except ImageDeltaError as error:
        return error.code
    assert opened.patch.read() == PATCH
    return ACCEPTED


def shared_bundle(rng: random.Random) -> str:
    """A damaged file of a shared bundle: what it makes with the patch must be the sealed bundle, or refused."""
    try:
        shared = read_shared(mutated(rng, _SHARED))
        check_chunk_list(parse_head(shared.before, TRUSTED)[0], shared.chunks)
        opened = read_bundle(io.BytesIO(shared.before + PATCH + shared.after), TRUSTED)
        opened.verify_patch_digest()
    except ImageDeltaError as error:
        return error.code
    assert (opened.head.bundle_id, opened.patch.read()) == (a_head().bundle_id, PATCH), "another bundle was accepted"
    return ACCEPTED


_BUNDLE = a_bundle()
_SHARED = a_shared()


@cache
def _indexes() -> list[bytes]:
    tars = [make.MODULES_1.layers[1], make.SOURCE.layers[1], kinds.pax_paths(1), kinds.sparse_with_blocks(1), b"no tar"]
    return [index().to_bytes(), *(index_layer(io.BytesIO(tar)).to_bytes() for tar in tars)]


@cache
def _signatures() -> list[bytes]:
    images = (make.SOURCE, make.MODULES_1, make.PROGRAM)
    signed = [sign(built.image, list(map(index_layer, map(io.BytesIO, built.layers)))) for built in images]
    return [signature_vectors()["good.imds"], *(each.to_bytes() for each in signed)]


def _index_outcome(data: bytes) -> str:
    try:
        read = LayerIndex.from_bytes(data, _LIMITS)
    except ImageDeltaError as error:
        assert isinstance(error, LimitExceeded) or _members(data) is None, (
            f"the second reader takes what is {error.code}"
        )
        return error.code
    assert _members(data) == [astuple(entry) for entry in read.entries], "the second reader reads something else"
    end = 0
    for entry in read.entries:
        assert end <= entry.header_offset <= entry.offset, "members overlap"
        end = entry.offset + entry.size
        _read_structure(read, entry.header_offset, entry.offset - entry.header_offset)
    assert end <= read.size, "a member past the end of its layer"
    assert LayerIndex.from_bytes(read.to_bytes(), _LIMITS) == read
    return ACCEPTED


def _members(data: bytes) -> list[tuple[object, ...]] | None:
    """Return what the second reader reads."""
    try:
        return [astuple(member) for member in Index(data).members]
    except Exception:  # it refuses by whatever fails in it
        return None


def _read_structure(read: LayerIndex, offset: int, length: int) -> None:
    """Read headers; a damaged frame is found only now."""
    with contextlib.suppress(NotStructure, ImageDeltaError):
        assert len(read.structure.read_at(offset, length)) == length
