"""A second reader of patches, written from docs/formats/patch.md alone; it imports nothing of imagedelta.

Everything is held in memory and the limits of section 8 are not kept: it proves the document, not itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import struct
import zlib

import zstandard

CONFIG, KINDS, STRUCTURE_LENGTHS, LENGTHS, SOURCES, OFFSETS, STRUCTURE = range(1, 8)
DIFF_LENGTHS, EXTRA_LENGTHS, SEEKS, DIFF, EXTRA, LITERAL, CODE, TEXT = range(8, 16)


class Bytes:
    """Bytes read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        assert 0 <= size <= len(self.data) - self.at
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        value = self.number()
        return value // 2 if value % 2 == 0 else -((value + 1) // 2)

    def digest(self) -> str:
        return "sha256:" + self.take(32).hex()

    def text(self) -> str:
        return self.take(self.number()).decode("ascii")

    def end(self) -> None:
        assert self.at == len(self.data)


def stated_size(block: bytes) -> int:
    field = block[124:136]
    if field[0] >= 128:
        return int.from_bytes(field[-8:], "big") % 2**63
    digits = field.split(b"\0")[0].strip(b" ")
    return int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else 0


def structure_of(tar: bytes, limit: int) -> bytes:
    out, at = b"", 0
    while at + 512 <= len(tar):
        block = tar[at : at + 512]
        checksum = block[148:156].split(b"\0")[0].strip(b" ")
        if not checksum or any(digit not in b"01234567" for digit in checksum):
            break
        if int(checksum, 8) != sum(block[:148]) + 256 + sum(block[156:]):
            break
        padded = (stated_size(block) + 511) // 512 * 512
        kind = block[156:157]
        inside = padded if kind in (b"x", b"g", b"L", b"K") else 0
        if at + 512 + inside > len(tar) or len(out) + 512 + inside > limit:
            break
        out += tar[at : at + 512 + inside]
        at += 512 + (padded if inside or kind in (b"0", b"\0", b"7", b"S") else 0)
    return out


class Patch:
    """A patch and the source layers it needs, by diff_id."""

    def __init__(self, data: bytes, sources: dict[str, bytes]) -> None:
        magic, version, length, checksum = struct.unpack("<8sBII", data[:17])
        assert (magic, version) == (b"\x89imgdelt", 1)
        body = Bytes(data[17 : 17 + length])
        assert zlib.crc32(body.data) == checksum
        body.text()
        self.platform = body.text()
        self.image_id = body.digest()
        self.source_ids = [body.digest() for _ in range(body.number())]
        self.source_layers = [body.digest() for _ in range(body.number())]
        self.sources = sources
        self.config_bytes, self.scratch = body.number(), body.number()
        self.layers = [self._layer(body) for _ in range(body.number())]
        rows = [self._row(body) for _ in range(body.number())]
        body.end()
        coded = Bytes(data[17 + length :])
        self.streams = {role: Bytes(b"") for role in range(1, 16)}
        for role, coder, params, raw, size in rows:
            self.streams[role] = Bytes(self._decode(coder, params, coded.take(size)))
            assert len(self.streams[role].data) == raw
        coded.end()

    def apply(self) -> tuple[bytes, dict[str, bytes]]:
        """Return the config and every layer by diff_id."""
        config = self._config()
        made = {}
        self.kept = b""
        self.source, self.next = 1, {}
        for flag, diff_id, size in self.layers:
            if diff_id not in made:
                made[diff_id] = self.sources[diff_id] if flag else self._rebuild()
                assert len(made[diff_id]) == size
                assert "sha256:" + hashlib.sha256(made[diff_id]).hexdigest() == diff_id
        for stream in self.streams.values():
            stream.end()
        return config, made

    def _layer(self, body: Bytes) -> tuple[int, str, int]:
        flag, size = body.take(1)[0], body.number()
        assert flag in (0, 1)
        return flag, self.source_layers[body.number()] if flag else body.digest(), size

    def _row(self, body: Bytes) -> tuple[int, int, tuple, int, int]:
        role, coder = body.take(2)
        if coder == 4:
            params = (body.number(), body.number(), [body.number() for _ in range(body.number())])
        else:
            params = () if coder == 0 else (body.number(),)
        return role, coder, params, body.number(), body.number()

    def _decode(self, coder: int, params: tuple, data: bytes) -> bytes:
        if coder == 0:
            return data
        if coder in (1, 2):
            chain = [{"id": lzma.FILTER_X86}] if coder == 2 else []
            chain.append({"id": lzma.FILTER_LZMA2, "dict_size": params[0]})
            return lzma.decompress(data, lzma.FORMAT_RAW, filters=chain)
        known = {}
        if coder == 4:
            dictionary = b""
            for layer in params[2]:
                dictionary += structure_of(self.sources[self.source_layers[layer]], params[1] - len(dictionary))
            kind = zstandard.DICT_TYPE_RAWCONTENT
            known["dict_data"] = zstandard.ZstdCompressionDict(dictionary, dict_type=kind)
        form = zstandard.FORMAT_ZSTD1_MAGICLESS
        decoder = zstandard.ZstdDecompressor(max_window_size=2 ** params[0], format=form, **known)
        return decoder.stream_reader(io.BytesIO(data)).read()

    def _config(self) -> bytes:
        short, config = self.streams[CONFIG], b""
        while short.at < len(short.data):
            byte = short.take(1)
            if byte == b"\xff":
                position = short.take(1)[0]
                byte = b"\xff" if position == 255 else self.layers[position][1][7:].encode()
            config += byte
        assert "sha256:" + hashlib.sha256(config).hexdigest() == self.image_id
        assert len(config) == self.config_bytes
        assert json.loads(config)["rootfs"]["diff_ids"] == [diff_id for _, diff_id, _ in self.layers]
        return config

    def _rebuild(self) -> bytes:
        streams, out, padding = self.streams, b"", 0
        while True:
            byte = streams[KINDS].take(1)[0]
            kind, keep = byte & 127, byte >> 7
            structure = streams[STRUCTURE].take(streams[STRUCTURE_LENGTHS].signed() + padding + 512)
            out += structure
            if kind == 5:
                return out
            length = streams[LENGTHS].signed()
            length += stated_size(structure[-512:]) if len(structure) >= 512 else 0
            if kind in (0, 1):
                data = self._from_source(kind, length, len(structure))
            else:
                data = streams[{2: LITERAL, 3: CODE, 4: TEXT}[kind]].take(length)
            assert len(data) == length > 0
            self.kept += data if keep else b""
            assert len(self.kept) <= self.scratch
            out += data
            padding = -length % 512

    def _from_source(self, kind: int, length: int, structure_length: int) -> bytes:
        streams = self.streams
        self.source += streams[SOURCES].signed()
        offset = streams[OFFSETS].signed() + self.next.get(self.source, 0) + structure_length
        used = length if kind == 0 else streams[LENGTHS].signed() + length
        self.next[self.source] = offset + used
        whole = self.kept if self.source == 0 else self.sources[self.source_layers[self.source - 1]]
        old = Bytes(whole)
        old.at = offset
        old = Bytes(old.take(used))
        return old.data if kind == 0 else self._changed(old.data, length)

    def _changed(self, old: bytes, length: int) -> bytes:
        streams, out, position = self.streams, b"", 0
        while len(out) < length:
            same, extra = streams[DIFF_LENGTHS].number(), streams[EXTRA_LENGTHS].number()
            assert 0 <= position <= position + same <= len(old)
            pairs = zip(old[position : position + same], streams[DIFF].take(same), strict=True)
            out += bytes((a + b) % 256 for a, b in pairs) + streams[EXTRA].take(extra)
            position += same + streams[SEEKS].signed()
        return out
