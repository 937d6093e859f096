"""Patches that break one rule each of docs/formats/patch.md, section 11, and are named by it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace

from imagedelta.delta.format.coders import (
    BROTLI,
    LZMA2,
    LZMA2_DICTIONARY,
    MIXED_DIFFERENCES,
    MIXED_PROGRAMS,
    PROGRAMS,
    Params,
)
from imagedelta.delta.format.header import PatchHeader, SourceLayer, header_to_bytes
from imagedelta.delta.format.items import HEADLESS, KEEP, ODD_HEADER, Way
from imagedelta.delta.format.roles import Role
from imagedelta.leb128 import encode, zigzag
from tests.vectors.raw_patch import RawPatch

Refused = Mapping[str, tuple[bytes, str]]
"""Name → (patch, code of its refusal)."""


def signed(*values: int) -> bytes:
    return b"".join(encode(zigzag(value)) for value in values)


def bad_heads(good: bytes, header: PatchHeader) -> Refused:
    """Return damaged copies of a patch whose streams stay as they are."""
    head = len(header_to_bytes(header))
    body = good[head:]
    first, *rest = header.streams

    def changed(**fields: object) -> bytes:
        return header_to_bytes(replace(header, **fields)) + body  # type: ignore[arg-type]

    def row(role: Role, **fields: object) -> bytes:
        rows = [replace(each, **fields) if each.role is role else each for each in header.streams]  # type: ignore[arg-type]
        return changed(streams=tuple(rows))

    return {
        "P1-magic": (b"\x88" + good[1:], "content.invalid"),
        "P1-crc": (good[:13] + bytes([good[13] ^ 1]) + good[14:], "content.invalid"),
        "P2-version": (good[:8] + b"\2" + good[9:], "content.unsupported"),
        "P3-cut-in-head": (good[: head // 2], "content.truncated"),
        "P3-cut-in-stream": (good[:-1], "content.truncated"),
        "P4-goes-on": (good + b"\0", "content.invalid"),
        "P4-body-goes-on": (_with_body(good[17:head] + b"\0", body), "content.invalid"),
        "P5-head": (good[:9] + b"\xff\xff\xff\x7f" + good[13:], "content.limit_exceeded"),
        "P5-raw-size": (changed(streams=(replace(first, raw_bytes=1 << 40), *rest)), "content.limit_exceeded"),
        "P5-window": (row(Role.TEXT, coder=BROTLI, params=Params(window_log=25)), "content.limit_exceeded"),
        "P6-memory": (row(Role.NAMES, coder=LZMA2, params=Params(dictionary_bytes=1 << 30)), "patch.memory"),
        "P7-no-image": (changed(source_image_ids=("sha256:" + "00" * 32,)), "source.missing"),
        "P8-order": (changed(streams=(*rest, first)), "content.invalid"),
        "P8-text": (changed(platform="linux amd64"), "content.invalid"),
        "P8-source": (changed(source_layers=(SourceLayer(1, 0, 0), *header.source_layers[1:])), "content.invalid"),
        "P8-position": (changed(source_layers=(SourceLayer(0, 9, 0), *header.source_layers[1:])), "content.invalid"),
        "P8-coder": (row(Role.TEXT, coder=LZMA2_DICTIONARY, params=Params(dictionary_bytes=4096)), "content.invalid"),
        "P9-config": (changed(target_image_id="sha256:" + "00" * 32), "content.digest_mismatch"),
        "P10-platform": (changed(platform="linux/arm64"), "content.invalid"),
        "P10-size": (changed(config_bytes=header.config_bytes + 1), "content.invalid"),
        "P14-kept": (changed(scratch_bytes=header.scratch_bytes - 1), "content.limit_exceeded"),
        "P15-damaged-stream": (good[:-60] + bytes(60), "content.*"),
        "P15-raw-size": (row(Role.TEXT, raw_bytes=_raw_bytes(header, Role.TEXT) + 1), "content.invalid"),
    }


def bad_layers(smallest: RawPatch) -> Refused:
    """Return damaged copies of the patch of section 14: two items that make ``hi`` and a line feed."""

    def changed(ways: bytes = b"\x1a\x1c", lengths: bytes = signed(3, -1533), odd: bytes = b"hi\n") -> bytes:
        return smallest.with_streams(items=ways, lengths=lengths, odd=odd).to_bytes()

    return {
        "P2-way": (changed(bytes([HEADLESS | 13, HEADLESS | Way.END])), "content.unsupported"),
        "P2-flags": (changed(bytes([HEADLESS | ODD_HEADER | Way.ODD, HEADLESS | Way.END])), "content.unsupported"),
        "P2-keep": (changed(bytes([HEADLESS | KEEP | Way.ODD, HEADLESS | Way.END])), "content.unsupported"),
        "P11-length": (changed(lengths=signed(0, -1536)), "content.invalid"),
        "P11-end": (changed(lengths=signed(3, -1534)), "content.invalid"),
        "P11-header": (changed(bytes([Way.ODD, HEADLESS | Way.END])), "content.invalid"),
        "P11-nothing": (changed(bytes([HEADLESS | Way.NONE, HEADLESS | Way.END])), "content.invalid"),
        "P13-longer": (changed(lengths=signed(4, -1532), odd=b"hi\n\n"), "content.invalid"),
        "P13-shorter": (changed(lengths=signed(2, -1534), odd=b"hi"), "content.invalid"),
        "P15-left-over": (changed(odd=b"hi\n\n"), "content.invalid"),
        "P16-odd": (changed(odd=b"hi"), "content.truncated"),
        "P17-layer": (changed(odd=b"ho\n"), "content.digest_mismatch"),
    }


def bad_items(from_source: RawPatch) -> Refused:
    """Return damaged copies of a patch with deltas and kept bytes, all streams uncoded."""
    streams = from_source.streams

    def changed(**fields: bytes) -> bytes:
        return from_source.with_streams(**fields).to_bytes()

    def first(role: Role, number: bytes) -> bytes:
        """Put another number in front of a stream whose first has one byte."""
        assert streams[role][0] < 0x80
        return number + streams[role][1:]

    few, *others = from_source.header.source_layers
    more = (replace(few, members=few.members + 1), *others)
    return {
        "P11-member": (changed(bases=first(Role.BASES, signed(1 << 20))), "content.invalid"),
        "P11-reference": (changed(references=first(Role.REFERENCES, encode(1 << 20))), "content.invalid"),
        "P11-few-members": (from_source.with_head(source_layers=more).to_bytes(), "content.invalid"),
        "P11-offset": (changed(offsets=first(Role.OFFSETS, signed(-1))), "content.invalid"),
        "P12-outside": (changed(offsets=first(Role.OFFSETS, signed(1 << 20))), "content.invalid"),
        "P12-seek": (changed(seeks=signed(1 << 20) + streams[Role.SEEKS][1:]), "content.invalid"),
        "P13-control-of-nothing": (
            changed(
                diff_lengths=b"\0" + streams[Role.DIFF_LENGTHS],
                extra_lengths=b"\0" + streams[Role.EXTRA_LENGTHS],
                seeks=b"\0" + streams[Role.SEEKS],
            ),
            "content.invalid",
        ),
        "P13-control-too-long": (changed(extra_lengths=_last_more(streams[Role.EXTRA_LENGTHS])), "content.invalid"),
        "P13-zeros": (changed(zeros=_last_more(streams[Role.ZEROS])), "content.invalid"),
        "P18-mask": (changed(masks=encode(1 << 16) + streams[Role.MASKS][1:]), "content.invalid"),
        "P18-unknown-field": (changed(masks=encode(1 << 17) + streams[Role.MASKS][1:]), "content.invalid"),
        "P18-form": (
            changed(
                masks=encode(1 << 16 | 1 << 1) + streams[Role.MASKS][1:],
                sizes=b"\0" + streams[Role.SIZES],
                others=b"\x09" + streams.get(Role.OTHERS, b""),
            ),
            "content.invalid",
        ),
        "P18-path": (changed(name_prefixes=encode(101) + streams[Role.NAME_PREFIXES][1:]), "content.invalid"),
        "P18-number": (changed(sizes=signed(8**11) + streams[Role.SIZES][1:]), "content.invalid"),
    }


def bad_folds(modules: RawPatch) -> Refused:
    """Return damaged copies of a patch with stamps and folds."""
    folds = modules.streams[Role.FOLDS]
    stamps = modules.streams[Role.STAMPS]
    return {
        "P5-folds": (modules.with_streams(folds=encode(1 << 40) + folds[1:]).to_bytes(), "content.limit_exceeded"),
        "P12-stamp": (modules.with_streams(stamps=signed(-1) + stamps[5:]).to_bytes(), "content.invalid"),
        "P18-level": (modules.with_streams(folds=folds[:4] + signed(8) + folds[5:]).to_bytes(), "content.invalid"),
        "P18-fold-of-nothing": (
            modules.with_streams(folds=folds[:3] + signed(-(1 << 30)) + folds[4:]).to_bytes(),
            "content.invalid",
        ),
    }


def bad_predictions(programs: RawPatch) -> Refused:
    """Return damaged copies of a patch of the second format, whose first predicted delta is of machine code."""
    predictions, seeks = programs.streams[Role.PREDICTIONS], programs.streams[Role.SEEKS]
    many = encode(16) + encode(68) + signed(*[1] * 68) + predictions[1:]
    return {
        "P2-kind": (programs.with_streams(predictions=encode(256) + predictions[1:]).to_bytes(), "content.unsupported"),
        "P2-first-format": (programs.with_head(profile="v1-64m").to_bytes(), "content.unsupported"),
        "P5-corrections": (programs.with_streams(predictions=many).to_bytes(), "content.limit_exceeded"),
        "P12-match": (programs.with_streams(offsets=signed(1 << 20)).to_bytes(), "content.invalid"),
        "P12-far": (programs.with_streams(seeks=signed(1 << 48) + seeks[1:]).to_bytes(), "content.invalid"),
        "P16-predictions": (programs.with_streams(predictions=predictions[:-1]).to_bytes(), "content.truncated"),
    }  # fmt: skip


def bad_blocks(news: RawPatch) -> Refused:
    """Return damaged copies of a patch whose only fold lists where blocks end."""
    folds = news.streams[Role.FOLDS]
    start = folds.index(encode(3) + encode(20_000))
    head = folds[:start]
    return {
        "P5-blocks": (
            news.with_streams(folds=head + encode(100_001) + folds[start + 1 :]).to_bytes(),
            "content.limit_exceeded",
        ),
        "P13-no-blocks": (news.with_streams(folds=head + encode(0)).to_bytes(), "content.invalid"),
        "P18-empty-block": (
            news.with_streams(folds=head + encode(2) + encode(20_000) + encode(0)).to_bytes(),
            "content.invalid",
        ),
        "P18-blocks-too-long": (
            news.with_streams(folds=head + encode(1) + encode(1 << 30)).to_bytes(),
            "content.invalid",
        ),
        "P13-other-blocks": (
            news.with_streams(folds=head + encode(2) + encode(20_000) + encode(2)).to_bytes(),
            "content.invalid",
        ),
    }


def bad_digests(good: RawPatch) -> Refused:
    """Return damaged copies of a patch of lists: its last file but one has digests filled in, and so has the last."""
    digests = good.streams[Role.DIGESTS]
    first = digests.index(b"\4")
    before, after = digests[:first], digests[first + 2 :]
    count = after[0]
    assert len(before) % 2 == 0 and count == 9

    def changed(fills: bytes, marks: bytes = b"\4\0") -> bytes:
        return good.with_streams(digests=before + marks + fills).to_bytes()

    return {
        "P2-marks": (changed(after, b"\x08\0"), "content.unsupported"),
        "P2-digests": (good.with_head(profile="v1-64m").to_bytes(), "content.unsupported"),
        "P11-marked": (changed(after, b"\4" + encode(zigzag(-1 << 20))), "content.invalid"),
        "P12-digest-form": (changed(after[:2] + bytes([after[2] | 3]) + after[3:]), "content.invalid"),
        "P12-digest-of-none": (changed(after[:2] + encode(4 * zigzag(99) + 2) + after[3:]), "content.invalid"),
        "P12-digest-mark": (changed(after[:2] + bytes([after[2] & ~3]) + after[3:]), "content.invalid"),
        "P12-digest-far": (changed(after[:1] + encode(1 << 20) + after[2:]), "content.invalid"),
        "P12-digests": (changed(encode((1 << 16) + 1) + after[1:]), "content.invalid"),
        "P13-marked-longer": (changed(after, b"\4\2"), "content.invalid"),
        "P13-marked-shorter": (changed(after, b"\4\1"), "content.invalid"),
        "P16-digests": (good.with_streams(digests=digests[:-1]).to_bytes(), "content.truncated"),
        "P17-digest": (changed(after[:18] + encode(4 * zigzag(-1) + 2) + after[19:]), "content.digest_mismatch"),
    }


def bad_programs(good: bytes, header: PatchHeader) -> Refused:
    """Return damaged copies of a patch of new programs."""
    head = len(header_to_bytes(header))
    before = sum(row.coded_bytes for row in header.streams if row.role < Role.CODE)
    assert next(row for row in header.streams if row.role is Role.CODE).coder == PROGRAMS
    kind = head + before
    return {
        "P2-programs": (header_to_bytes(replace(header, profile="v1-64m")) + good[head:], "content.unsupported"),
        "P15-frame": (good[:kind] + b"\2" + good[kind + 1 :], "content.invalid"),
        "P15-short-frame": (good[: kind + 1] + b"\0" + good[kind + 2 :], "content.invalid"),
    }


def bad_mixing(good: bytes, header: PatchHeader) -> Refused:
    """Return damaged copies of a patch of mixed differences and mixed new bytes."""
    at, coded = len(header_to_bytes(header)), {}
    for row in header.streams:
        coded[row.role] = good[at : at + row.coded_bytes]
        at += row.coded_bytes

    def changed(role: Role, data: bytes, **fields: object) -> bytes:
        rows = [
            replace(row, coded_bytes=len(data), **fields) if row.role is role else row  # type: ignore[arg-type]
            for row in header.streams
        ]
        head = header_to_bytes(replace(header, streams=tuple(rows)))
        return head + b"".join({**coded, role: data}.values())

    changes, text = coded[Role.DIFF], coded[Role.TEXT]
    raw_bytes = _raw_bytes(header, Role.DIFF)
    return {
        "P8-mixed": (changed(Role.TEXT, text, coder=MIXED_DIFFERENCES), "content.invalid"),
        "P5-tables": (changed(Role.DIFF, changes, params=Params(bits=16)), "content.limit_exceeded"),
        "P15-mixed-cut": (changed(Role.DIFF, changes[:-1]), "content.invalid"),
        "P15-mixed-goes-on": (changed(Role.DIFF, changes + b"\0"), "content.invalid"),
        "P15-mixed-fewer": (changed(Role.DIFF, changes, raw_bytes=raw_bytes - 1), "content.truncated"),
        "P15-mixed-more": (changed(Role.DIFF, changes, raw_bytes=raw_bytes + 1), "content.invalid"),
        "P15-mixed-frame-cut": (changed(Role.TEXT, text[:-1]), "content.*"),
        "P15-mixed-frame-empty": (changed(Role.TEXT, b"\0\0" + text), "content.invalid"),
        "P15-mixed-frame-short": (changed(Role.TEXT, text + text), "content.invalid"),
    }


def bad_mixed_programs(good: bytes, header: PatchHeader) -> Refused:
    """Return damaged copies of a patch of new programs that are mixed."""
    head = len(header_to_bytes(header))
    kind = head + sum(row.coded_bytes for row in header.streams if row.role < Role.CODE)
    assert next(row for row in header.streams if row.role is Role.CODE).coder == MIXED_PROGRAMS
    first_format = header_to_bytes(replace(header, profile="v1-64m"))
    return {
        "P2-mixed-programs": (first_format + good[head:], "content.unsupported"),
        "P15-mixed-programs-frame": (good[:kind] + b"\2" + good[kind + 1 :], "content.invalid"),
        "P17-mixed-programs": (good[:kind] + bytes([good[kind] ^ 1]) + good[kind + 1 :], "content.digest_mismatch"),
    }


def _raw_bytes(header: PatchHeader, role: Role) -> int:
    return next(row.raw_bytes for row in header.streams if row.role is role)


def _last_more(numbers: bytes) -> bytes:
    """Return numbers of which the last is one more."""
    assert numbers[-1] < 0x7F
    return numbers[:-1] + bytes([numbers[-1] + 1])


def _with_body(head: bytes, streams: bytes) -> bytes:
    magic = b"\x89imgdelt\x01"
    return magic + struct.pack("<II", len(head), zlib.crc32(head)) + head + streams
