"""The bytes of a tar outside file data, found by walking its headers.

Both sides walk a source layer in this way to get the dictionary against which the target's headers are
coded, so a device needs no index. The walk is a fixed rule, not a tar reader: where it loses its way in an
odd tar it stops, on both sides at the same byte.

Source: docs/formats/patch.md, section 6.
"""

from __future__ import annotations

from imagedelta.delta.content import LayerReader

BLOCK = 512
_CHECKSUM = slice(148, 156)
_SIZE = slice(124, 136)
_TYPE = 156
_WITH_FILE_DATA = b"0\x007S"
_WITH_HEADER_DATA = b"xgLK"


def header_size_field(block: bytes) -> int:
    """Return the size that a header block states; 0 when it states none that makes sense."""
    field = block[_SIZE]
    if field[0] & 0x80:
        return int.from_bytes(field[-8:], "big") & 0x7FFFFFFFFFFFFFFF
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits or digits.strip(b"01234567"):
        return 0
    return int(digits, 8)


def tar_structure(reader: LayerReader, limit: int) -> bytes:
    """Return the headers of ``reader``'s tar, with the bodies of pax and GNU name headers.

    Args:
        limit: The result has at most so many bytes; the walk ends before the block that would exceed it.
    """
    out = bytearray()
    offset = 0
    while offset + BLOCK <= reader.size:
        block = reader.read_at(offset, BLOCK)
        if not _is_header(block):
            break
        size = header_size_field(block)
        padded = size + -size % BLOCK
        kind = block[_TYPE]
        inside = padded if kind in _WITH_HEADER_DATA else 0
        if offset + BLOCK + inside > reader.size or len(out) + BLOCK + inside > limit:
            break
        out += block
        if inside:
            out += reader.read_at(offset + BLOCK, inside)
        offset += BLOCK + (padded if inside or kind in _WITH_FILE_DATA else 0)
    return bytes(out)


def _is_header(block: bytes) -> bool:
    field = block[_CHECKSUM].split(b"\0", 1)[0].strip(b" ")
    if not field or field.strip(b"01234567"):
        return False
    # The checksum counts its own field as eight spaces.
    return int(field, 8) == sum(block) - sum(block[_CHECKSUM]) + 8 * 0x20
