"""Files in which references stand for nothing, or for what they refer to, so that a search finds code that moved.

Only the side that builds patches looks at masked files: matches found in them hold for the files as they are.
"""

from __future__ import annotations

import struct

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.predict import clr, clr_mask
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.elf_tables import FrameIndex
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.prediction import START_BYTES, Part, Prediction
from imagedelta.delta.predict.shifts import Stretch

_ENTRY_WORDS = 2


def masked(data: bytes, kinds: Kind) -> bytes:
    """Return the file with its references of these kinds masked."""
    if kinds & Kind.CLR and (file := clr.read_clr(data)):
        data = clr_mask.masked(file)
    return _program_masked(data, kinds & ~Kind.CLR) if kinds & ~Kind.CLR else data


def _program_masked(data: bytes, kinds: Kind) -> bytes:
    """What is predicted for a file that did not change is what refers to something in it."""
    prediction = Prediction(
        kinds | Kind.NUMBERS, (), Extent(BytesReader(data), 0, len(data)), Controls(0, [(len(data), 0, 0)])
    )
    prediction.show(data[:START_BYTES])
    out = bytearray()
    for part in prediction.parts(Stretch(0, 0, len(data))):
        out += _masked(data[part.old : part.old + part.length], part, prediction)
    return bytes(out)


def _masked(data: bytes, part: Part, prediction: Prediction) -> bytes:
    if isinstance(part.table, FrameIndex):
        return _steps(data)
    out = bytearray(data)
    if part.table:
        for field in part.table.fields(part.old, part.old + part.length, 0):
            at = field.offset - part.old
            if not field.is_size and at >= 0 and at + field.width <= len(out):
                out[at : at + field.width] = bytes(field.width)
        return bytes(out)
    found = prediction.predicted(part)
    for at in found.words:
        out[at : at + 4] = bytes(4)
    for at in found.longs:
        out[at : at + 8] = bytes(8)
    return bytes(out)


def _steps(data: bytes) -> bytes:
    """Return by how much each entry differs from the one before: a function that moved with its neighbours is equal."""
    words = struct.unpack_from(f"<{len(data) // 4}I", data)
    before = (0,) * _ENTRY_WORDS + words
    steps = [word - last & 0xFFFFFFFF for word, last in zip(words, before, strict=False)]
    return struct.pack(f"<{len(steps)}I", *steps) + data[4 * len(steps) :]
