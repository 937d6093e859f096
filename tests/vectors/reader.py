"""A second reader of patches, written from docs/formats/patch.md alone; it imports nothing of imagedelta.

Everything is held in memory and limits (rules P5, P6 and P14's bound on unfolded bases) are not kept: it proves the
document, not itself. Brotli, LZMA2, the x86 filter and deflate are formats of others: like any reader, it takes their
libraries, so it proves how the document uses them and not what they do. Context mixing has a slow reader of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import re
import struct
import zlib
from collections.abc import Iterator, Sequence

import brotli

from tests.native import twin
from tests.vectors import predicted, programs

CONFIG, ITEMS, REFERENCES, BASES, LENGTHS, OFFSETS, STAMPS, ODD, DIFF_LENGTHS, EXTRA_LENGTHS = range(1, 11)
SEEKS, DIFF, EXTRA, LITERAL, CODE, TEXT, OLD_TEXT, DICTIONARIES, FOLDS, ZEROS = range(11, 21)
PREDICTIONS, DIGESTS = 21, 22
COLUMNS = 32
SAME, STAMPED, COPY, DELTA = range(4)
KEPT, FOLDED, ODD_BYTES, NONE, END = range(8, 13)
OF_ONE_ROLE = ((4, CONFIG), (4, OLD_TEXT), (5, DIFF))
"""Coders, and the streams that alone may have them."""
WITHOUT_DATA = b"123456"


class Bytes:
    """Bytes read from front to back."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        assert at >= 0
        self.data = data
        self.at = at

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
            assert shift <= 70
            if byte < 128:
                return value

    def signed(self) -> int:
        value = self.number()
        return value // 2 if value % 2 == 0 else -((value + 1) // 2)

    def digest(self) -> str:
        return "sha256:" + self.take(32).hex()

    def head_number(self) -> int:
        start = self.at
        value = self.number()
        assert self.at == start + 1 or self.data[self.at - 1]
        assert value < 2**63
        return value

    def text(self) -> str:
        text = self.take(self.head_number()).decode("ascii")
        assert re.fullmatch("[A-Za-z0-9._/+-]{1,255}", text)
        return text

    def end(self) -> None:
        assert self.at == len(self.data)


def stated_size(block: bytes) -> int:
    if block[156] in WITHOUT_DATA:
        return 0
    field = block[124:136]
    if field[0] >= 128:
        return int.from_bytes(field[-8:], "big") % 2**63
    digits = field.split(b"\0")[0].strip(b" ")
    return int(digits, 8) if digits and all(digit in b"01234567" for digit in digits) else 0


def pax_size(body: bytes) -> int | None:
    """Return what the last size record of a pax header says."""
    found = None
    while body[:1] not in (b"", b"\0"):
        length = re.match(rb"[1-9][0-9]{0,9} ", body)
        record, body = body[: int(length[0])] if length else b"", body[int(length[0]) :] if length else b""
        if not length or len(record) != int(length[0]) or not re.fullmatch(rb"[^=]*=.*\n", record, re.DOTALL):
            return None
        key, value = record[length.end() : -1].split(b"=", 1)
        if key == b"size":
            found = int(value) if re.fullmatch(rb"[0-9]{1,18}", value) else None
    return found


def members_of(tar: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield header and data of each member that the walk of section 6 finds."""
    at, stated = 0, None
    while at + 512 <= len(tar):
        block = tar[at : at + 512]
        checksum = block[148:156].split(b"\0")[0].strip(b" ")
        if not checksum or any(digit not in b"01234567" for digit in checksum):
            return
        if int(checksum, 8) != sum(block[:148]) + 256 + sum(block[156:]):
            return
        size = stated_size(block) if stated is None or block[156] not in b"0\x007" else stated
        at += 512
        more = block[156:157] == b"S" and block[482]
        while more:
            if at + 512 > len(tar):
                return
            more = tar[at + 504]
            at += 512
        if at + size > len(tar):
            return
        body = tar[at : at + size]
        yield block, body
        stated = pax_size(body) if block[156:157] == b"x" and size <= 4096 else None
        at += (size + 511) // 512 * 512


class Members:
    """The numbered members; a layer is walked when one of its own is named, and must then have all that are counted."""

    def __init__(self, counts: list[tuple[str, int]], layers: dict[str, bytes]) -> None:
        self.counts, self.layers = counts, layers
        self.walked: dict[str, list[tuple[bytes, bytes]]] = {}

    def __getitem__(self, number: int) -> tuple[bytes, bytes]:
        assert number >= 0
        for diff_id, count in self.counts:
            if number < count:
                return self._walk(diff_id, count)[number]
            number -= count
        raise AssertionError("no such member")

    def _walk(self, diff_id: str, count: int) -> list[tuple[bytes, bytes]]:
        if diff_id not in self.walked:
            self.walked[diff_id] = list(members_of(self.layers[diff_id]))
        assert len(self.walked[diff_id]) >= count
        return self.walked[diff_id]


def shortened(config: bytes) -> bytes:
    digests = [diff_id[7:].encode() for diff_id in json.loads(config)["rootfs"]["diff_ids"]]
    config = config.replace(b"\xff", b"\xff\xff")
    for position, digest in enumerate(digests):  # of equal layers the first is named
        config = config.replace(digest, b"\xff" + bytes([position]))
    return config


def lzma_behind(old: bytes, dictionary: int, data: bytes) -> tuple[bytes, bytes]:
    """Return what an LZMA2 stream behind old text makes, and the bytes after its end mark."""
    chain = [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain)
    for at in range(0, len(old), 65536):
        part = old[at : at + 65536]
        decoder.decompress((b"\2" if at else b"\1") + (len(part) - 1).to_bytes(2, "big") + part)
    made = decoder.decompress(data)
    assert decoder.eof
    return made, decoder.unused_data


def in_form(form: int, value: int, width: int) -> bytes:
    """Return a number in one of the forms of section 8; nothing if it does not fit."""
    if form == 8:
        return b"\x80" + value.to_bytes(width - 1, "big") if 0 <= value < min(2**63, 256 ** (width - 1)) else b""
    tail = (b"\0", b" ", b" \0", b"")[form % 4]
    digits = b"%o" % value if value >= 0 else b"-" * 99
    room = width - len(tail)
    return digits.rjust(room, b"0" if form < 4 else b" ") + tail if len(digits) <= room else b""


def form_of(field: bytes) -> tuple[int, int] | None:
    """Return the first form that a field has, and its number."""
    text = field.rstrip(b" \0").lstrip(b" ")
    if field[0] == 128:
        value = int.from_bytes(field[1:], "big")
    elif text and all(digit in b"01234567" for digit in text):
        value = int(text, 8)
    else:
        return None
    return next(((form, value) for form in range(9) if in_form(form, value, len(field)) == field), None)


class Headers:
    """Section 8."""

    def __init__(self, columns: list[Bytes]) -> None:
        self.masks, self.prefixes, self.suffixes, self.names, self.modes, self.owners = columns[:6]
        self.sizes, self.times, self.types, self.links, self.others = columns[6:]
        first = bytearray(512)
        for at, text in ((100, b"0000644"), (108, b"0000000"), (116, b"0000000"), (124, b"0" * 11), (136, b"0" * 11)):
            first[at : at + len(text)] = text
        for at, text in ((156, b"0"), (257, b"ustar\x0000"), (329, b"0000000"), (337, b"0000000")):
            first[at : at + len(text)] = text
        first[148:156] = self._checksum(first, b"")
        self.before = bytes(first)

    def read(self, reference: bytes | None) -> bytes:
        predicted = reference or self.before
        mask = self.masks.number()
        if mask:
            predicted = self._changed(mask, predicted, reference)
        self.before = predicted
        return predicted

    def _changed(self, mask: int, predicted: bytes, reference: bytes | None) -> bytes:
        assert mask < 2**17
        assert mask < 2**16 or mask & 0b1_1001_0110
        self.own_forms = mask >> 16
        block = bytearray(predicted)
        size_base = self._number(reference, 124, 136) if reference else 0
        fields = (
            lambda: self._path(block, predicted, 0, 100, self.names, reference),
            lambda: self._add(block, predicted, 124, 136, self.sizes, size_base),
            lambda: self._add(block, predicted, 136, 148, self.times, self._number(self.before, 136, 148)),
            lambda: self._path(block, predicted, 157, 257, self.links, reference),
            lambda: self._add(block, predicted, 100, 108, self.modes, self._number(predicted, 100, 108)),
            lambda: self._raw(block, 156, 157, self.types),
            lambda: self._path(block, predicted, 345, 500, self.names, reference),
            lambda: self._add(block, predicted, 108, 116, self.owners, self._number(predicted, 108, 116)),
            lambda: self._add(block, predicted, 116, 124, self.owners, self._number(predicted, 116, 124)),
            lambda: self._text(block, 265, 297),
            lambda: self._text(block, 297, 329),
            lambda: self._text(block, 329, 337),
            lambda: self._text(block, 337, 345),
            lambda: self._raw(block, 257, 265, self.others),
            lambda: self._raw(block, 500, 512, self.others),
        )
        for number, read in enumerate(fields):
            if mask >> number & 1:
                read()
        block[148:156] = self._checksum(block, b"" if mask >> 15 & 1 else predicted[148:156])
        return bytes(block)

    def _number(self, block: bytes, start: int, end: int) -> int:
        return (form_of(block[start:end]) or (0, 0))[1]

    def _add(self, block: bytearray, predicted: bytes, start: int, end: int, column: Bytes, base: int) -> None:
        form = self.others.take(1)[0] if self.own_forms else (form_of(predicted[start:end]) or (0, 0))[0]
        assert form <= 8
        field = in_form(form, column.signed() + base, end - start)
        assert field
        block[start:end] = field

    def _raw(self, block: bytearray, start: int, end: int, column: Bytes) -> None:
        block[start:end] = column.take(end - start)

    def _until_nul(self, column: Bytes) -> bytes:
        text = b""
        while (byte := column.take(1)) != b"\0":
            text += byte
        return text

    def _text(self, block: bytearray, start: int, end: int) -> None:
        text = self._until_nul(self.others)
        assert len(text) <= end - start
        block[start:end] = text.ljust(end - start, b"\0")

    def _path(
        self, block: bytearray, predicted: bytes, start: int, end: int, column: Bytes, reference: bytes | None
    ) -> None:
        old = predicted[start:end].split(b"\0")[0]
        prefix = self.prefixes.number()
        suffix = self.suffixes.number() if reference else 0
        assert prefix + suffix <= len(old)
        text = old[:prefix] + self._until_nul(column) + old[len(old) - suffix :]
        assert len(text) <= end - start
        block[start:end] = text.ljust(end - start, b"\0")

    def _checksum(self, block: bytes, form: bytes) -> bytes:
        total = sum(block[:148]) + 256 + sum(block[156:])
        if form[6:] == b" \0":
            return b"%06o \0" % total
        if form[7:] == b"\0" and form[6] in b"01234567":
            return b"%07o\0" % total
        return b"%06o\0 " % total


class Marked:
    """Data whose digests are listed, or that lists digests (section 4a)."""

    def __init__(self, numbers: Bytes, remaining: int, listed: list[tuple[int, bytes]]) -> None:
        self.marks, self.listed, self.data = numbers.number(), listed, b""
        self.left = numbers.signed() + remaining
        assert 0 < self.marks < 8 and self.left > 0
        self.texts: dict[int, int] = {}
        end = expected = 0
        count = numbers.number() if self.marks & 4 else 0
        assert count <= 65_536
        for _ in range(count):
            end += numbers.number()
            code = numbers.number()
            form, which = code % 4, expected + (code // 4 // 2 if code // 4 % 2 == 0 else -(code // 4 + 1) // 2)
            assert 0 <= which < len(listed)
            marks, content = listed[which]
            assert marks & (1 if form == 0 else 2)
            text = hashlib.md5(content).hexdigest() if form == 0 else hashlib.sha256(content).hexdigest()
            if form == 2:
                text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()[:43]
            assert form < 3
            self.texts.update((end + at, ord(letter)) for at, letter in enumerate(text))
            end, expected = end + len(text), which + 1
            assert end <= self.left

    def filled(self, data: bytes) -> bytes:
        """Return the next bytes as they are in the file."""
        start = len(self.data)
        self.data += bytes(self.texts.get(start + at, byte) for at, byte in enumerate(data))
        self.left -= len(data)
        assert self.left >= 0
        if not self.left and self.marks & 3:
            self.listed.append((self.marks, self.data))
            assert len(self.listed) <= 32_768
        return self.data[start:]


class Patch:
    """A patch and what it needs: source layers by diff_id, source configs by image ID."""

    def __init__(self, data: bytes, sources: dict[str, bytes], configs: dict[str, bytes] | None = None) -> None:
        magic, version, length, checksum = struct.unpack("<8sBII", data[:17])
        assert (magic, version) == (b"\x89imgdelt", 1)
        body = Bytes(data[17 : 17 + length])
        assert zlib.crc32(body.data) == checksum
        self.second = body.text().startswith("v2-")
        self.platform = body.text()
        self.image_id = body.digest()
        self.source_ids = [body.digest() for _ in range(body.head_number())]
        self.sources, self.configs = sources, configs or {}
        self.source_layers = [self._source_layer(body) for _ in range(body.head_number())]
        self.config_bytes, self.scratch = body.head_number(), body.head_number()
        described = [self._layer(body) for _ in range(body.head_number())]
        self.layers = [(flag, diff_id, size) for flag, _, diff_id, size in described]
        assert len(set(described)) == len(set(self.layers)) == len({diff_id for _, diff_id, _ in self.layers})
        rows = [self._row(body) for _ in range(body.head_number())]
        body.end()
        roles = [role for role, *_ in rows]
        assert roles == sorted(set(roles))
        self.members = Members(self.source_layers, sources)
        coded = Bytes(data[17 + length :])
        parts = {role: (coder, parameter, raw, coded.take(size)) for role, coder, parameter, raw, size in rows}
        coded.end()
        self.predicts = PREDICTIONS in parts
        self.streams = {role: Bytes(b"") for role in (*range(1, 23), *range(COLUMNS, COLUMNS + 11))}
        self.mixed: twin.Residual | None = None
        self.mixed_left = 0
        for role in sorted(parts, key=lambda role: role == OLD_TEXT):  # it needs its dictionaries
            coder, parameter, raw, packed = parts[role]
            self.streams[role] = Bytes(self._decode(role, coder, parameter, packed))
            if coder == 5:
                self.mixed, self.mixed_left = twin.Residual(packed, parameter), raw
            else:
                assert len(self.streams[role].data) == raw

    def apply(self) -> tuple[bytes, dict[str, bytes]]:
        """Return the config and every layer by diff_id."""
        config = self._config()
        made: dict[str, bytes] = {}
        self.headers = Headers([self.streams[COLUMNS + column] for column in range(11)])
        self.kept = b""
        self.listed: list[tuple[int, bytes]] = []
        self.reference = self.base = self.offset = self.kept_end = self.stamp = 0
        for flag, diff_id, size in self.layers:
            if diff_id not in made:
                made[diff_id] = self.sources[diff_id] if flag else self._rebuild()
                assert len(made[diff_id]) == size
                assert "sha256:" + hashlib.sha256(made[diff_id]).hexdigest() == diff_id
        for stream in self.streams.values():
            stream.end()
        assert not self.mixed_left
        assert not self.mixed or (self.mixed.coder.at == len(self.mixed.coder.coded) and not self.mixed.left)
        return config, made

    def _source_layer(self, body: Bytes) -> tuple[str, int]:
        image_id = self.source_ids[body.head_number()]
        config = self.configs[image_id]
        assert "sha256:" + hashlib.sha256(config).hexdigest() == image_id
        return json.loads(config)["rootfs"]["diff_ids"][body.head_number()], body.head_number()

    def _layer(self, body: Bytes) -> tuple[int, int, str, int]:
        flag, size = body.take(1)[0], body.head_number()
        assert flag in (0, 1)
        number = body.head_number() if flag else -1
        return flag, number, self.source_layers[number][0] if flag else body.digest(), size

    def _row(self, body: Bytes) -> tuple[int, int, int, int, int]:
        role, coder = body.take(2)
        assert role in range(1, 23 if self.second else 21) or role in range(COLUMNS, COLUMNS + 11)
        assert coder in (0, 1, 2, 3, 6) or (self.second and coder in (7, 8)) or (coder, role) in OF_ONE_ROLE
        return role, coder, body.head_number() if coder else 0, body.head_number(), body.head_number()

    def _decode(self, role: int, coder: int, parameter: int, data: bytes) -> bytes:
        if coder == 0:
            return data
        if coder in (1, 2):
            chain = [{"id": lzma.FILTER_X86}] if coder == 2 else []
            chain.append({"id": lzma.FILTER_LZMA2, "dict_size": parameter})
            return lzma.decompress(data, lzma.FORMAT_RAW, filters=chain)
        if coder == 3:
            return brotli.decompress(data)
        if coder == 5:
            return b""  # there are none without the old bytes
        if coder == 6:
            return self._frames(Bytes(data), parameter)
        if coder == 7:
            return programs.frames(data, parameter)
        if coder == 8:
            return self._frames(Bytes(data), parameter, of_programs=True)
        if role == CONFIG:
            made, rest = lzma_behind(shortened(self.configs[self.source_ids[0]]), parameter, data)
            assert not rest
            return made
        made, dictionaries, member = b"", self.streams[DICTIONARIES], 0
        while data:
            old = b""
            for _ in range(dictionaries.number()):
                member += dictionaries.signed()
                old += self.members[member][1]
                member += 1
            frame, data = lzma_behind(old, parameter, data)
            made += frame
        return made

    def _frames(self, coded: Bytes, bits: int, *, of_programs: bool = False) -> bytes:
        made = b""
        while coded.at < len(coded.data):
            kind = coded.take(1)[0] if of_programs else None
            size = coded.number()
            frame = coded.take(coded.number())
            assert size > 0
            decoder = twin.NewBytes(frame, bits)
            new = decoder.make(size)
            made += new if kind is None else programs.as_it_was(new, kind)
            assert decoder.mixer.coder.at == len(frame)
            assert size >= 1_048_576 or coded.at == len(coded.data)
        return made

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
        document = json.loads(config)
        assert document["rootfs"]["diff_ids"] == [diff_id for _, diff_id, _ in self.layers]
        variant = document.get("variant")
        if (document.get("architecture"), variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = None
        words = [document.get("os") or "unknown", document.get("architecture") or "unknown", variant]
        assert "/".join(filter(None, words)) == self.platform
        return config

    def _rebuild(self) -> bytes:
        out, self.remaining = b"", 0
        marked: Marked | None = None
        while True:
            byte = self.streams[ITEMS].take(1)[0]
            way, member = byte & 15, None
            assert not byte & 0x40 or (self.second and way not in (ODD_BYTES, END))
            assert not marked or (byte & 0x50 == 0x10 and way != END)
            assert byte & 0x30 != 0x30
            assert not byte & 0x80 or way not in (KEPT, ODD_BYTES, NONE, END)
            assert byte & 0x10 if way in (ODD_BYTES, END) else not byte & 0x10 or way not in (SAME, NONE)
            if not byte & 0x10:
                out += bytes(-len(out) % 512)
                block, member = self._header(bool(byte & 0x20))
                out += block
            if way == END:
                return out + bytes(self.streams[LENGTHS].signed() + -len(out) % 512 + 1024)
            if byte & 0x40:
                marked = Marked(self.streams[DIGESTS], self.remaining, self.listed)
            data = self._data(way, member)
            if marked:
                data = marked.filled(data)
                marked = marked if marked.left else None
            if byte & 0x80:
                self.kept += data
                assert len(self.kept) <= self.scratch
            out += data

    def _header(self, odd: bool) -> tuple[bytes, int | None]:
        member = None
        if odd:
            block = self.streams[ODD].take(512)
        else:
            code = self.streams[REFERENCES].number()
            if code != 1:
                member = self.reference + (self._unfold_sign(code - 1) if code else 0)
            block = self.headers.read(None if member is None else self.members[member][0])
        self.remaining, self.offset = stated_size(block), 0
        if member is None:
            self.base += 1
        else:
            self.reference, self.base = member + 1, member
        return block, member

    def _data(self, way: int, member: int | None) -> bytes:
        """Make the data of an item outside of folded ones."""
        if way == NONE:
            return b""
        if way == SAME:
            data = self.members[member][1] if self.remaining and member is not None else b""
            assert data or not self.remaining
            return self._made(data, 0)
        if way in (STAMPED, COPY, DELTA):
            self._move_base(self.streams[BASES].signed())
        if way == STAMPED:
            self.stamp += self.streams[STAMPS].signed()
            data = self.members[self.base][1]
            assert len(data) >= 12
            return self._made(data[:8] + self.stamp.to_bytes(4, "little") + data[12:], 0)
        length = self.streams[LENGTHS].signed() + self.remaining
        assert length > 0
        if way == FOLDED:
            return self._folded(length)
        if way == KEPT:
            offset = self.streams[OFFSETS].signed() + self.kept_end
            self.kept_end = offset + length
            data = Bytes(self.kept, offset).take(length)
            self.remaining = max(0, self.remaining - length)
            return data
        return self._from(way, length, self.members[self.base][1] if way in (COPY, DELTA) else b"")

    def _from(self, way: int, length: int, old: bytes) -> bytes:
        offset = self.streams[OFFSETS].signed() + self.offset if way in (COPY, DELTA) else 0
        if way == COPY:
            data = Bytes(old, offset).take(length)
        elif way == DELTA:
            data = self._changed(old, offset, length)
        else:
            data = self.streams[{4: LITERAL, 5: CODE, 6: TEXT, 7: OLD_TEXT, ODD_BYTES: ODD}[way]].take(length)
        return self._made(data, offset)

    def _made(self, data: bytes, offset: int) -> bytes:
        self.offset = offset + len(data)
        self.remaining = max(0, self.remaining - len(data))
        return data

    def _move_base(self, difference: int) -> None:
        self.base += difference
        if difference:
            self.offset = 0

    def _folded(self, length: int) -> bytes:
        code, old, base_folds = self.streams[BASES].number(), b"", []
        if code:
            old, base_folds = unfolded(self.members[self.base + self._unfold_sign(code - 1)][1])
            assert base_folds
        inner = self.streams[LENGTHS].signed() + length
        folds = self._folds(base_folds)
        after = max(0, self.remaining - length)
        self.remaining, self.offset, plain = inner, 0, b""
        while len(plain) < inner:
            byte = self.streams[ITEMS].take(1)[0]
            assert byte & 0xF0 == 0x10
            size = self.streams[LENGTHS].signed() + self.remaining
            plain += self._from(byte & 15, size, old)
        self.remaining = after
        data = folded(Bytes(plain), folds)
        assert len(data) == length
        return data

    def _folds(self, base_folds: list[tuple[int, int]]) -> list[tuple[int, int, int, int, list[int]]]:
        stream, place, way, folds = self.streams[FOLDS], 0, 12, []
        for _ in range(stream.number()):
            place += stream.signed()
            raw, plain = base_folds[place] if 0 <= place < len(base_folds) else (0, 0)
            raw, plain = raw + stream.signed(), plain + stream.signed()
            way += stream.signed()
            blocks = [stream.number() for _ in range(stream.number())] if self.second else []
            assert raw >= 0 < plain and way in range(2, 20) and 0 not in blocks and sum(blocks) <= plain
            folds.append((raw, plain, way // 2, 8 + way % 2, blocks))
            place += 1
        return folds

    def _changed(self, old: bytes, position: int, length: int) -> bytes:
        streams, out, self.row, self.left = self.streams, b"", 0, 0
        kinds = streams[PREDICTIONS].number() if self.predicts else 0
        if kinds:
            return self._predicted(kinds, old, position, length)
        while len(out) < length:
            same, extra = streams[DIFF_LENGTHS].number(), streams[EXTRA_LENGTHS].number()
            assert 0 < same + extra <= length - len(out)
            assert 0 <= position <= position + same <= len(old)
            out += self._sum(old[position : position + same]) + streams[EXTRA].take(extra)
            position += same + streams[SEEKS].signed()
        assert not self.left
        return out

    def _predicted(self, kinds: int, old: bytes, position: int, length: int) -> bytes:
        """Section 7a."""
        assert kinds < 256
        assert len(old) <= 4 * length
        streams, matches, extras, new = self.streams, [], [], 0
        numbers = streams[PREDICTIONS]
        corrections = [numbers.signed() for _ in range(numbers.number())] if kinds & 16 else []
        assert len(corrections) <= 67
        while new < length:
            same, extra = streams[DIFF_LENGTHS].number(), streams[EXTRA_LENGTHS].number()
            seek = streams[SEEKS].signed()
            assert 0 < same + extra <= length - new
            assert abs(seek) < 2**48
            matches.append((position, new, same))
            extras.append(extra)
            new += same + extra
            position += same + seek
        delta, out, start = predicted.Delta(kinds, corrections, old, matches), b"", predicted.NOT_PREDICTED
        for (place, _, same), extra in zip(matches, extras, strict=True):
            raw = max(0, min(same, start - len(out)))
            before = len(out)
            out += self._sum(old[place : place + raw])
            if before < start <= len(out):
                delta.begin(out)
            if same > raw:
                changed = delta.predicted((place + raw, len(out), same - raw))
                out += self._sum(*changed, len(out), whole=bool(kinds & 64))
            before = len(out)
            out += streams[EXTRA].take(extra)
            if before < start <= len(out):
                delta.begin(out[:start])
        assert not self.left
        return out

    def _sum(
        self, old: bytes, numbers: Sequence[tuple[int, int]] = (), place: int = 0, *, whole: bool = False
    ) -> bytes:
        """Add differences to old bytes: one by one, or as numbers where some are."""
        mixed = self.mixed is not None
        differences = self._mixed(old, numbers, place) if mixed else bytes(self._difference() for _ in old)
        out = bytearray((a + b) % 256 for a, b in zip(old, differences, strict=True))
        for at, width in numbers if whole else ():
            both = (int.from_bytes(data[at : at + width], "little") for data in (old, differences))
            out[at : at + width] = (sum(both) % 256**width).to_bytes(width, "little")
        return bytes(out)

    def _mixed(self, old: bytes, numbers: Sequence[tuple[int, int]], place: int) -> bytes:
        assert self.mixed
        self.mixed_left -= len(old)
        assert self.mixed_left >= 0
        out = b""
        for start in range(0, len(old), 65536):
            inside = [2 * (at - start) + (width == 8) for at, width in numbers if start <= at < start + 65536]
            out += self.mixed.span(old[start : start + 65536], sorted(inside), place + start)
        return out

    def _difference(self) -> int:
        if self.left:
            self.left -= 1
            return 0
        byte = self.streams[DIFF].take(1)[0]
        self.row = 0 if byte else self.row + 1
        if self.row == (8 if self.second else 32):
            self.left, self.row = self.streams[ZEROS].number(), 0
        return byte

    def _unfold_sign(self, value: int) -> int:
        return value // 2 if value % 2 == 0 else -((value + 1) // 2)


class NoUnfoldedForm(Exception):
    """A file is used as it is."""


class Streams:
    """The deflate streams of a file, and what those that break off have cost."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.room = 16 * 2**20 + 4 * len(data)

    def inflated(self, start: int) -> tuple[bytes, int] | None:
        """Return what the stream at ``start`` makes, and where it ends; fed as section 7 says."""
        decoder, fed, feed, plain = zlib.decompressobj(-15), 0, 4096, bytearray()
        while not decoder.eof:
            packed = decoder.unconsumed_tail
            if not packed:
                packed = self.data[start + fed : start + fed + feed]
                fed, feed = fed + len(packed), min(2 * feed, 65536)
            try:
                made = decoder.decompress(packed, 65536)
            except zlib.error:
                break
            plain += made
            if len(plain) > 268_435_456:
                raise NoUnfoldedForm
            if not packed and not made:
                break
        if decoder.eof and plain:
            return bytes(plain), start + fed - len(decoder.unused_data)
        self.room -= fed + len(plain)
        if self.room < 0:
            raise NoUnfoldedForm
        return None


def gzip_start(data: bytes, at: int) -> int | None:
    member = data[at : at + 65536]
    if len(member) <= 10 or member[:3] != b"\x1f\x8b\x08" or member[3] & 0xE0:
        return None
    flags, start = member[3], 10
    if flags & 4:
        start += 2 + int.from_bytes(member[start : start + 2], "little")
    for bit in (8, 16):
        if flags & bit:
            start = member.find(b"\0", start) + 1
            if not start:
                return None
    start += 2 if flags & 2 else 0
    return at + start if start < len(member) else None


def streams_of(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield start, plain bytes and end of each deflate stream."""
    streams, end, at = Streams(data), 0, 0
    while (start := gzip_start(data, at)) is not None and (found := streams.inflated(start)):
        yield start, *found
        end = found[1]
        at = end + 8
    at = end
    while (at := data.find(b"PK\3\4", at)) >= 0:
        flags, method = struct.unpack("<HH", data[at + 6 : at + 10].ljust(4, b"\0"))
        start = at + 30 + sum(struct.unpack("<HH", data[at + 26 : at + 30].ljust(4, b"\0")))
        deflated = method == 8 and not flags & 0x2041 and start < len(data)
        found = streams.inflated(start) if deflated else None
        if found:
            yield start, *found
        at = found[1] if found else at + 4


def unfolded(data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the unfolded form and (raw, plain) of each stream found; no stream where there is no such form."""
    out, folds, end = bytearray(), [], 0
    try:
        for start, plain, stop in streams_of(data):
            out += data[end:start] + plain
            folds.append((start - end, len(plain)))
            end = stop
    except NoUnfoldedForm:
        return b"", []
    return bytes(out) + data[end:], folds if len(folds) <= 100_000 else []


def folded(plain: Bytes, folds: list[tuple[int, int, int, int, list[int]]]) -> bytes:
    out = b""
    for raw, size, level, memory, blocks in folds:
        out += plain.take(raw)
        packer = zlib.compressobj(level, zlib.DEFLATED, -15, memory)
        for block in blocks:
            out += packer.compress(plain.take(block)) + packer.flush(zlib.Z_BLOCK)
        out += packer.compress(plain.take(size - sum(blocks))) + packer.flush()
    return out + plain.take(len(plain.data) - plain.at)
