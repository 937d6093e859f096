"""The one zip layout a bundle has: three members in fixed order, so that head and tail are known bytes.

Any zip tool opens it, but our reader accepts no other layout: it takes the four values that vary from the
head, writes head and tail again and compares. No second name, comment, gap or extra member can hide.

Source: docs/formats/bundle.md, section 2; PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from imagedelta.bundles.head import MAX_JSON_BYTES
from imagedelta.bundles.seal import SEAL_BYTES
from imagedelta.errors import ContentError, LimitExceeded, Truncated

MEMBERS = (b"bundle.json", b"bundle.seal", b"patch.imgdelta")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_SIZES64 = struct.Struct("<HHQQ")
_STORED, _DEFLATED = 0, 8
_DATE = 0x21
"""1980-01-01, the earliest a zip can say: bundles carry no time."""
_ZIP64_FROM = 0xFFFF0000
"""From this patch size on sizes and offsets are written in zip64; below, everything fits 32 bits."""
_MAX32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class BundleParts:
    """The values that vary between bundles."""

    packed_json: bytes
    """``bundle.json`` as a raw deflate stream."""
    json: bytes
    seal: bytes
    patch_crc32: int
    patch_bytes: int


@dataclass(frozen=True, slots=True)
class _Member:
    name: bytes
    method: int
    crc32: int
    packed_bytes: int
    bytes: int
    offset: int
    zip64: bool = False


def pack_json(data: bytes) -> bytes:
    """Return ``data`` as a raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def head_bytes(parts: BundleParts) -> bytes:
    """Return everything before the patch."""
    json_member, seal_member, patch_member = _members(parts)
    return b"".join(
        (
            _local_header(json_member),
            parts.packed_json,
            _local_header(seal_member),
            parts.seal,
            _local_header(patch_member),
        )
    )


def tail_bytes(parts: BundleParts) -> bytes:
    """Return everything after the patch: the zip's directory."""
    directory = b"".join(_central_header(member) for member in _members(parts))
    start = len(head_bytes(parts)) + parts.patch_bytes
    count = len(MEMBERS)
    if parts.patch_bytes < _ZIP64_FROM:
        return directory + _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    end64 = _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, count, count, len(directory), start)
    locator = _LOCATOR64.pack(b"PK\6\7", 0, start + len(directory), 1)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), _MAX32, 0)
    return directory + end64 + locator + end


def read_head(prefix: bytes) -> tuple[BundleParts, int]:
    """Parse the first bytes of a bundle; 64 KiB always suffice.

    Returns:
        The parts, and the offset of the patch's first byte.

    Raises:
        Truncated: ``prefix`` ends before the patch begins.
        LimitExceeded: ``bundle.json`` or its seal declares more than its bound.
        ContentError: Any other byte than this layout allows.
    """
    fields, offset = _read_local(prefix, 0, MEMBERS[0])
    packed_json = _take(prefix, offset, _bounded(fields[7], MAX_JSON_BYTES, "bundle.json"))
    json = _unpack_json(packed_json)
    fields, offset = _read_local(prefix, offset + len(packed_json), MEMBERS[1])
    seal = _take(prefix, offset, _bounded(fields[7], SEAL_BYTES, "bundle.seal"))
    fields, offset = _read_local(prefix, offset + len(seal), MEMBERS[2])
    patch_bytes = fields[8]
    if patch_bytes == _MAX32:
        patch_bytes = _SIZES64.unpack(_take(prefix, offset, _SIZES64.size))[2]
        offset += _SIZES64.size
    parts = BundleParts(packed_json, json, seal, fields[6], patch_bytes)
    if head_bytes(parts) != prefix[:offset]:
        raise ContentError("not the layout of a bundle")
    return parts, offset


def _members(parts: BundleParts) -> tuple[_Member, _Member, _Member]:
    at_seal = _LOCAL.size + len(MEMBERS[0]) + len(parts.packed_json)
    at_patch = at_seal + _LOCAL.size + len(MEMBERS[1]) + len(parts.seal)
    json, seal, size = parts.json, parts.seal, parts.patch_bytes
    return (
        _Member(MEMBERS[0], _DEFLATED, zlib.crc32(json), len(parts.packed_json), len(json), 0),
        _Member(MEMBERS[1], _STORED, zlib.crc32(seal), len(seal), len(seal), at_seal),
        _Member(MEMBERS[2], _STORED, parts.patch_crc32, size, size, at_patch, size >= _ZIP64_FROM),
    )


def _local_header(member: _Member) -> bytes:
    packed, size, extra = _sizes(member)
    fields = (45 if member.zip64 else 20, 0, member.method, 0, _DATE, member.crc32, packed, size)
    return _LOCAL.pack(b"PK\3\4", *fields, len(member.name), len(extra)) + member.name + extra


def _central_header(member: _Member) -> bytes:
    packed, size, extra = _sizes(member)
    version = 45 if member.zip64 else 20
    fields = (version, version, 0, member.method, 0, _DATE, member.crc32, packed, size)
    lengths = (len(member.name), len(extra), 0, 0, 0, 0, member.offset)
    return _CENTRAL.pack(b"PK\1\2", *fields, *lengths) + member.name + extra


def _sizes(member: _Member) -> tuple[int, int, bytes]:
    if not member.zip64:
        return member.packed_bytes, member.bytes, b""
    return _MAX32, _MAX32, _SIZES64.pack(1, 16, member.bytes, member.packed_bytes)


def _read_local(prefix: bytes, offset: int, name: bytes) -> tuple[tuple[int, ...], int]:
    fields = _LOCAL.unpack(_take(prefix, offset, _LOCAL.size))
    if fields[0] != b"PK\3\4" or _take(prefix, offset + _LOCAL.size, len(name)) != name:
        raise ContentError(f"no member {name.decode()} at byte {offset}: not a bundle")
    return fields, offset + _LOCAL.size + len(name)


def _take(prefix: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(prefix):
        raise Truncated("the bundle ends inside its head")
    return prefix[offset : offset + length]


def _bounded(declared: int, limit: int, what: str) -> int:
    if declared > limit:
        raise LimitExceeded(f"{what} declares {declared} bytes, at most {limit}")
    return declared


def _unpack_json(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        data = unpacker.decompress(packed, MAX_JSON_BYTES + 1)
    except zlib.error as error:
        raise ContentError("bundle.json: damaged deflate stream") from error
    if len(data) > MAX_JSON_BYTES:
        raise LimitExceeded(f"bundle.json unpacks to more than {MAX_JSON_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise ContentError("bundle.json: its deflate stream does not end with the member")
    return data
