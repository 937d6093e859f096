"""The head of a patch: which image it makes from which, its layers, and the table of its streams.

Everything is bounded before it is allocated. Source: docs/formats/patch.md, section 3.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from imagedelta import leb128
from imagedelta.delta.format.coders import (
    LZMA2_DICTIONARY,
    MIXED_DIFFERENCES,
    MIXED_PROGRAMS,
    NATIVE_CODERS,
    PROGRAMS,
    Params,
    coder,
)
from imagedelta.delta.format.listed import LISTED_BYTES
from imagedelta.delta.format.profiles import SECOND_FORMAT, SMALL_CLASS, predicting_bytes
from imagedelta.delta.format.roles import COLUMN_ROLES, DICTIONARY_ROLES, NUMBER_ROLES, Role
from imagedelta.errors import ContentError, LimitExceeded, Truncated, UnsupportedFormat
from imagedelta.limits import DEFAULT_LIMITS, MIB, MOST_UNFOLDED, Limits

MAGIC = b"\x89imgdelt"
VERSION = 1
MAX_HEADER_BYTES = 256 * 1024
MAX_SOURCES = 16
MAX_SOURCE_LAYERS = MAX_SOURCES * 127
MAX_MEMBERS = 1_000_000
"""Numbered members of all source layers."""
MEMBER_BYTES = 16
"""Memory that a numbered member takes on the device."""
MAX_TEXT = 255
DIGEST_BYTES = 32
REBUILT, WHOLE = 0, 1
_UNFOLDING_ALLOWANCE = 512 * MIB
"""Enough for the largest base of every profile, packed and unfolded, whatever the size of the image."""
_MOST_MIXED = 4
"""Context mixing is slow, so what it makes is in proportion to the image; an unfolded form is seldom larger."""
_OF_PROGRAMS = (PROGRAMS, MIXED_PROGRAMS)
"""Coders that the first format lacks."""
_PREFIX_BYTES = len(MAGIC) + 1 + 4 + 4
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9._/+-]{1,255}")


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """A layer that the device must have, named by where the config of a source image has its digest."""

    source: int
    """Number of the source image."""
    position: int
    """In that image, from 0, lowest first."""
    members: int
    """How many of its members the patch can name; 0 for one that is only taken whole."""


@dataclass(frozen=True, slots=True)
class RebuiltLayer:
    """A layer of the target that the patch makes."""

    diff_id: str
    size: int
    """Bytes of the uncompressed tar."""


@dataclass(frozen=True, slots=True)
class WholeLayer:
    """A layer of the target that a source has."""

    source_layer: int
    """Number of the source layer."""
    size: int
    """Bytes of the uncompressed tar."""


TargetLayer = RebuiltLayer | WholeLayer


@dataclass(frozen=True, slots=True)
class PatchStream:
    """One row of the stream table."""

    role: Role
    coder: int
    params: Params
    raw_bytes: int
    coded_bytes: int

    @property
    def memory_bytes(self) -> int:
        """What its decoder takes."""
        return coder(self.coder).memory(self.params)


@dataclass(frozen=True, slots=True)
class PatchHeader:
    """The head of a patch."""

    profile: str
    target_image_id: str
    source_image_ids: tuple[str, ...]
    platform: str
    source_layers: tuple[SourceLayer, ...]
    """Named by number: by whole layers, and by the members that are counted through them."""
    layers: tuple[TargetLayer, ...]
    streams: tuple[PatchStream, ...]
    scratch_bytes: int
    """What rebuilding takes of the device's disk beside the layers: bytes that occur again, unfolded bases."""
    config_bytes: int

    @property
    def is_second_format(self) -> bool:
        """Whether references are predicted, by the name of the profile."""
        return self.profile.startswith(SECOND_FORMAT)

    @property
    def is_small(self) -> bool:
        """Whether predictions are held to a quarter of what others may take, by the name of the profile."""
        return self.profile.startswith(SMALL_CLASS)

    def has(self, role: Role) -> bool:
        """Whether there is a stream of this role."""
        return any(stream.role is role for stream in self.streams)

    @property
    def memory_bytes(self) -> int:
        """What all decoders together take, the table of members, predicting, and digests of files."""
        members = sum(layer.members for layer in self.source_layers)
        predicting = predicting_bytes(self.profile) if self.has(Role.PREDICTIONS) else 0
        listed = LISTED_BYTES if self.has(Role.DIGESTS) else 0
        return predicting + listed + MEMBER_BYTES * members + sum(stream.memory_bytes for stream in self.streams)

    @property
    def full_bytes(self) -> int:
        """The image's uncompressed layers and config."""
        return self.config_bytes + sum(layer.size for layer in self.layers)

    @property
    def unfolding_bytes(self) -> int:
        """What may be read and made to unfold bases, over all folded items: it takes time and makes nothing lasting."""
        return _UNFOLDING_ALLOWANCE + MOST_UNFOLDED * sum(layer.size for layer in self.layers)

    @property
    def rebuilt(self) -> tuple[RebuiltLayer, ...]:
        """Layers made by items, each distinct one once, lowest first."""
        return tuple(dict.fromkeys(layer for layer in self.layers if isinstance(layer, RebuiltLayer)))


def header_to_bytes(header: PatchHeader) -> bytes:
    """Return magic, version, length, checksum and body."""
    body = _body(header)
    checksum = zlib.crc32(body).to_bytes(4, "little")
    return MAGIC + bytes([VERSION]) + len(body).to_bytes(4, "little") + checksum + body


def read_patch_header(stream: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> PatchHeader:
    """Read the head of a patch and check it against the limits.

    Args:
        stream: On the first byte of the patch; left on the first byte of its first stream.

    Raises:
        Truncated: It ends inside the head.
        UnsupportedFormat: Another version, an unknown coder, stream or flag.
        LimitExceeded: A size or count is over its limit; nothing was allocated for it.
        ContentError: Not a patch, or its head is damaged.
    """
    prefix = _exactly(stream.read(_PREFIX_BYTES), _PREFIX_BYTES)
    if prefix[: len(MAGIC)] != MAGIC:
        raise ContentError("not a patch: wrong magic")
    if prefix[len(MAGIC)] != VERSION:
        raise UnsupportedFormat(f"patch version {prefix[len(MAGIC)]}")
    length = int.from_bytes(prefix[-8:-4], "little")
    if length > MAX_HEADER_BYTES:
        raise LimitExceeded(f"patch head of {length} bytes, at most {MAX_HEADER_BYTES}")
    body = _exactly(stream.read(length), length)
    if zlib.crc32(body) != int.from_bytes(prefix[-4:], "little"):
        raise ContentError("the head of the patch is damaged")
    header = _read_body(_Fields(body), limits)
    _check_sizes(header, limits)
    return header


def _body(header: PatchHeader) -> bytes:
    out = bytearray()
    for text in (header.profile, header.platform):
        out += leb128.encode(len(text)) + text.encode()
    out += _raw_digest(header.target_image_id)
    out += leb128.encode(len(header.source_image_ids)) + b"".join(map(_raw_digest, header.source_image_ids))
    out += leb128.encode(len(header.source_layers))
    for source in header.source_layers:
        out += b"".join(map(leb128.encode, (source.source, source.position, source.members)))
    out += leb128.encode(header.config_bytes) + leb128.encode(header.scratch_bytes)
    out += leb128.encode(len(header.layers))
    for layer in header.layers:
        if isinstance(layer, RebuiltLayer):
            out += bytes([REBUILT]) + leb128.encode(layer.size) + _raw_digest(layer.diff_id)
        else:
            out += bytes([WHOLE]) + leb128.encode(layer.size) + leb128.encode(layer.source_layer)
    out += leb128.encode(len(header.streams))
    for stream in header.streams:
        out += bytes([stream.role, stream.coder]) + coder(stream.coder).write_params(stream.params)
        out += leb128.encode(stream.raw_bytes) + leb128.encode(stream.coded_bytes)
    return bytes(out)


class _Fields:
    """Reads the body of a head from front to back."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        data = self._body[self._at : self._at + size]
        self._at += size
        return _exactly(data, size)

    def number(self) -> int:
        value, end = leb128.decode(self._body, self._at)
        if value >> 63 or self._body[self._at : end] != leb128.encode(value):
            raise ContentError("a number of the patch head is longer than it needs to be, or over 63 bits")
        self._at = end
        return value

    def count(self, limit: int, what: str) -> int:
        value = self.number()
        if value > limit:
            raise LimitExceeded(f"patch head: {value} {what}, at most {limit}")
        return value

    def text(self) -> str:
        data = self.take(self.count(MAX_TEXT, "characters of text"))
        text = data.decode("ascii", "replace")
        if not _PLAIN_TEXT.fullmatch(text):
            raise ContentError(f"patch head: {text[:60]!r} where a profile or platform belongs")
        return text

    def digest(self) -> str:
        return "sha256:" + self.take(DIGEST_BYTES).hex()

    def end(self) -> None:
        if self._at != len(self._body):
            raise ContentError("the head of the patch goes on after its last field")


def _read_body(fields: _Fields, limits: Limits) -> PatchHeader:
    profile, platform = fields.text(), fields.text()
    target = fields.digest()
    sources = tuple(fields.digest() for _ in range(fields.count(MAX_SOURCES, "sources")))
    count = fields.count(MAX_SOURCE_LAYERS, "source layers")
    source_layers = tuple(_read_source_layer(fields, len(sources)) for _ in range(count))
    config_bytes = fields.count(limits.max_config_bytes, "bytes of config")
    scratch_bytes = fields.count(limits.max_image_bytes, "bytes of scratch")
    count = fields.count(limits.max_layers, "layers")
    layers = tuple(_read_layer(fields, len(source_layers)) for _ in range(count))
    streams = tuple(_read_stream(fields) for _ in range(fields.count(len(Role), "streams")))
    fields.end()
    return PatchHeader(profile, target, sources, platform, source_layers, layers, streams, scratch_bytes, config_bytes)


def _read_source_layer(fields: _Fields, sources: int) -> SourceLayer:
    source = fields.number()
    if source >= sources:
        raise ContentError(f"patch head: source image {source} of {sources}")
    return SourceLayer(source, fields.number(), fields.count(MAX_MEMBERS, "members"))


def _read_layer(fields: _Fields, source_layers: int) -> TargetLayer:
    flag = fields.take(1)[0]
    size = fields.number()
    if flag == REBUILT:
        return RebuiltLayer(fields.digest(), size)
    if flag != WHOLE:
        raise UnsupportedFormat(f"patch layer flag {flag}")
    number = fields.number()
    if number >= source_layers:
        raise ContentError(f"patch head: source layer {number} of {source_layers}")
    return WholeLayer(number, size)


def _read_stream(fields: _Fields) -> PatchStream:
    role, number = fields.take(2)
    if role not in set(Role):
        raise UnsupportedFormat(f"patch stream of role {role}")
    if number == LZMA2_DICTIONARY and role not in DICTIONARY_ROLES:
        raise ContentError(f"patch stream of role {role} coded against old text")
    if number == MIXED_DIFFERENCES and role != Role.DIFF:
        raise ContentError(f"patch stream of role {role} coded beside old bytes")
    params = coder(number).read_params(fields.number)
    return PatchStream(Role(role), number, params, fields.number(), fields.number())


def _check_sizes(header: PatchHeader, limits: Limits) -> None:
    roles = [stream.role for stream in header.streams]
    if roles != sorted(set(roles)):
        raise ContentError("patch head: streams are not in rising order of their roles")
    if len(header.rebuilt) != len({layer.diff_id for layer in header.rebuilt}):
        raise ContentError("patch head: one layer is described in two ways")
    members = sum(layer.members for layer in header.source_layers)
    if members > MAX_MEMBERS:
        raise LimitExceeded(f"the patch numbers {members} members of its sources, at most {MAX_MEMBERS}")
    total = sum(layer.size for layer in header.layers)
    if total > limits.max_image_bytes:
        raise LimitExceeded(f"the patch makes {total} bytes of layers, at most {limits.max_image_bytes}")
    if {Role.PREDICTIONS, Role.DIGESTS} & set(roles) and not header.is_second_format:
        raise UnsupportedFormat(f"predictions or digests of files in a patch of profile {header.profile}")
    if not header.is_second_format and any(stream.coder in _OF_PROGRAMS for stream in header.streams):
        raise UnsupportedFormat(f"frames of programs in a patch of profile {header.profile}")
    for stream in header.streams:
        allowed = (
            most_mixed_bytes(total) if stream.coder in NATIVE_CODERS else _most_raw_bytes(stream.role, header, total)
        )
        if stream.raw_bytes > allowed:
            raise LimitExceeded(f"patch stream {stream.role.name} of {stream.raw_bytes} bytes is over {allowed}")


def most_mixed_bytes(total: int) -> int:
    """Return how many raw bytes a stream of context mixing may have in a patch that makes layers of ``total`` bytes."""
    return _MOST_MIXED * total


def _most_raw_bytes(role: Role, header: PatchHeader, total: int) -> int:
    if role is Role.CONFIG:
        return 2 * header.config_bytes  # a byte that is escaped takes two
    if role in NUMBER_ROLES or role in COLUMN_ROLES:
        # An item, a control or a header makes at least one byte, and writes at most two numbers to one stream.
        return 2 * leb128.MAX_BYTES * (total + len(header.layers))
    return MOST_UNFOLDED * total  # items make unfolded bytes


def _raw_digest(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise Truncated("the patch ends inside its head")
    return data
