"""The bytes of a stored signature: a header, one record per layer, then the columns of files.

Nothing is packed: hashes do not shrink, and fixed widths make reading two hundred of them cheap.

Source: docs/formats/signature.md.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from collections.abc import Iterator

from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import Limits
from imagedelta.signatures.sketch import MOST_VALUES
from imagedelta.signatures.summary import SKETCH_BYTES, FileColumns, LayerSummary

MAGIC = b"IMDS"
VERSION = 3
HEADER = struct.Struct("<4sBBH32sQdIHI")
"""magic, version, bytes of the platform, layers, image ID, full bytes, threshold, files, size code from which files
have sketches, sketches."""
LAYER = struct.Struct("<32sQI")
"""diff_id, size, members."""

Fields = tuple[str, str, int, tuple[LayerSummary, ...], float, FileColumns]


def fixed_size(platform: str, layers: int) -> int:
    """Return the bytes of a signature before its columns."""
    return HEADER.size + len(platform.encode()) + layers * LAYER.size


def encode(
    image_id: str,
    platform: str,
    full_bytes: int,
    layers: tuple[LayerSummary, ...],
    threshold: float,
    files: FileColumns,
) -> bytes:
    """See Signature.to_bytes."""
    name = platform.encode()
    header = HEADER.pack(
        MAGIC,
        VERSION,
        len(name),
        len(layers),
        _raw(image_id),
        full_bytes,
        threshold,
        len(files),
        files.sketched_from,
        len(files.sketches) // MOST_VALUES,
    )
    records = [LAYER.pack(_raw(layer.diff_id), layer.size, layer.members) for layer in layers]
    columns = [_little_endian(column).tobytes() for column in (*files.numbers(), files.sketches)]
    return b"".join((header, name, *records, *columns))


def decode(data: bytes, limits: Limits) -> Fields:
    """Return the fields of a Signature; see Signature.from_bytes."""
    if len(data) > limits.max_signature_bytes:
        raise LimitExceeded(f"signature of {len(data)} bytes, at most {limits.max_signature_bytes}")
    if len(data) < HEADER.size:
        raise Truncated(f"signature of {len(data)} bytes")
    header = HEADER.unpack_from(data)
    magic, version, name_length, layers, image_id, full_bytes, threshold, files, sketched_from, sketches = header
    if magic != MAGIC or version != VERSION:
        raise UnsupportedFormat(f"no signature of version {VERSION}: {magic!r}, version {version}")
    if layers > limits.max_layers or full_bytes > limits.max_image_bytes + limits.max_config_bytes:
        raise LimitExceeded(f"signature of {layers} layers and {full_bytes} bytes")
    layers_at = HEADER.size + name_length
    columns_at = layers_at + layers * LAYER.size
    sketches_at = columns_at + files * FileColumns.ROW_BYTES
    if sketches_at + sketches * SKETCH_BYTES != len(data):
        raise Truncated(f"signature of {len(data)} bytes does not fit its header")
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ContentError(f"signature with the threshold {threshold}")
    return (
        _id(image_id),
        _platform(data[HEADER.size : layers_at]),
        full_bytes,
        tuple(_layers(data[layers_at:columns_at])),
        threshold,
        _file_columns(data[columns_at:], files, sketched_from, sketches),
    )


def _layers(data: bytes) -> Iterator[LayerSummary]:
    for diff_id, size, members in LAYER.iter_unpack(data):
        yield LayerSummary(_id(diff_id), size, members)


def _file_columns(data: bytes, files: int, sketched_from: int, sketches: int) -> FileColumns:
    numbers = []
    at = 0
    for typecode in FileColumns.TYPECODES:
        end = at + files * array(typecode).itemsize
        numbers.append(_column(typecode, data[at:end]))
        at = end
    keys, sizes, forms, paths, tails, contents, kinds = numbers
    columns = FileColumns(keys, sizes, forms, paths, tails, contents, kinds, sketched_from, _column("H", data[at:]))
    if columns.sketch_places()[-1] != sketches:
        raise ContentError(f"signature of {sketches} sketches, not one for each file of size code {sketched_from}")
    return columns


def _column(typecode: str, data: bytes) -> array[int]:
    column = array(typecode)
    column.frombytes(data)
    return _little_endian(column)


def _little_endian(column: array[int]) -> array[int]:
    """Turn native order into stored order, or back."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


def _platform(name: bytes) -> str:
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise ContentError(f"signature of the platform {name!r}") from None


def _raw(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _id(digest: bytes) -> str:
    return "sha256:" + digest.hex()
