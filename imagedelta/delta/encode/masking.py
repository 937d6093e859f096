"""Files in which references stand for nothing, or for what they refer to, so that a search finds code that moved.

Only the side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from zlib import crc32

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.linkage import Slots
from imagedelta.delta.predict import clr, clr_mask
from imagedelta.delta.predict.aarch64 import without_operand
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_tables import FrameIndex
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.prediction import START_BYTES, Part, Prediction
from imagedelta.delta.predict.shifts import Stretch

_ENTRY_WORDS = 2
_HASHED = 32
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


def masked(data: bytes, kinds: Kind) -> bytes:
    """Return the file with its references of these kinds masked."""
    if kinds & Kind.CLR and (file := clr.read_clr(data)):
        data = clr_mask.masked(file)
    return _program_masked(data, kinds & ~Kind.CLR) if kinds & ~Kind.CLR else data


def _program_masked(data: bytes, kinds: Kind) -> bytes:
    """What is predicted for a file that did not change is what refers to something in it."""
    unchanged = Controls(0, [(len(data), 0, 0)])
    prediction = Prediction(kinds | Kind.NUMBERS, (), Extent(BytesReader(data), 0, len(data)), unchanged)
    prediction.show(data[:START_BYTES])
    image = read_elf(data[:START_BYTES]) or read_pe(data[:START_BYTES]) or Image(())
    out = bytearray()
    addresses = array("Q")
    for part in prediction.parts(Stretch(0, 0, len(data))):
        old = data[part.old : part.old + part.length]
        if kinds & Kind.AARCH64 and _is_code(part):
            out += _instructions_masked(old, part, prediction)
        else:
            out += _masked(old, part, prediction, addresses)
    slots = Slots(data, image)
    slots.named_in_code(out)
    hashes = [_hash_at(out, image.offset_of(_U64.unpack_from(data, place)[0])) for place in addresses]
    for place, named in zip(addresses, hashes, strict=True):
        _U64.pack_into(out, place, named)
    slots.named(out)
    return bytes(out)


def _is_code(part: Part) -> bool:
    return bool(part.run and part.run.segment and part.run.segment.executable and not part.table)


def _instructions_masked(data: bytes, part: Part, prediction: Prediction) -> bytes:
    """Return a part with the operands of its instructions set to zero; what they do with them stays."""
    out = bytearray(data)
    for at in prediction.predicted(part).words:
        _U32.pack_into(out, at, without_operand(_U32.unpack_from(data, at)[0]))
    return bytes(out)


def _masked(data: bytes, part: Part, prediction: Prediction, addresses: array[int]) -> bytes:
    """Return a part with its references set to zero; where addresses of 64 bits are is added to ``addresses``."""
    if isinstance(part.table, FrameIndex):
        return _steps(data)
    out = bytearray(data)
    for at, width in _places(part, prediction):
        if width == _U64.size:
            addresses.append(part.old + at)
        out[at : at + width] = bytes(width)
    return bytes(out)


def _places(part: Part, prediction: Prediction) -> Iterator[tuple[int, int]]:
    if part.table:
        for field in part.table.fields(part.old, part.old + part.length, 0):
            at = field.offset - part.old
            if not field.is_size and at >= 0 and at + field.width <= part.length:
                yield at, field.width
        return
    found = prediction.predicted(part)
    for at in found.words:
        yield at, _U32.size
    for at in found.longs:
        yield at, _U64.size


def _hash_at(masked_file: bytearray, place: int | None) -> int:
    """Return what stands for an address: a hash of what is there, which is as long as nothing but references moved."""
    return 0 if place is None else crc32(masked_file[place : place + _HASHED])


def _steps(data: bytes) -> bytes:
    """Return by how much each entry differs from the one before: a function that moved with its neighbours is equal."""
    words = struct.unpack_from(f"<{len(data) // 4}I", data)
    before = (0,) * _ENTRY_WORDS + words
    steps = [word - last & 0xFFFFFFFF for word, last in zip(words, before, strict=False)]
    return struct.pack(f"<{len(steps)}I", *steps) + data[4 * len(steps) :]
