"""Makes the vectors of the patch and bundle formats: ``python -m tests.vectors.make``.

A test holds that what is stored equals what this makes with the pinned codecs, so that no byte of a format
moves unnoticed. Bad vectors are named by the rule of the format document that they break.
"""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagedelta.bundles import Ed25519Sealer, seal
from imagedelta.bundles.zip_layout import BundleParts, head_bytes, pack_json, tail_bytes
from imagedelta.delta import read_patch_header
from imagedelta.delta.header import header_to_bytes
from imagedelta.delta.profiles import V1_64M
from imagedelta.limits import KIB
from tests.images import BuiltImage, a_layer, an_image
from tests.unit.bundles.bundles import PATCH, SEALER, a_bundle, a_head
from tests.unit.delta.patches import a_patch, layers_of

FOLDER = Path(__file__).parent
_TINY = replace(V1_64M, whole_file_bytes=4 * KIB, window_bytes=2 * KIB, window_reach_bytes=KIB)


def noise(size: int, seed: int) -> bytes:
    """Return bytes that do not compress, the same on every machine."""
    return random.Random(seed).randbytes(size)


def text(lines: int) -> bytes:
    """Return bytes that compress well."""
    return b"".join(b"option %d = %d\n" % (number, number * number % 97) for number in range(lines))


_LIBRARY = noise(3000, 1)
_LARGE = noise(9000, 2)
_FILES = {f"share/doc/{name}/copyright": text(20) for name in ("a", "b", "c", "d", "e", "f", "g", "h")}
BASE = a_layer({"etc/": b"", "etc/os-release": text(9)})
SOURCE = an_image(BASE, a_layer({"lib/x.so.1": _LIBRARY, "large": _LARGE, **_FILES}, mtime=1_600_000_000))
_CHANGED = a_layer(
    {
        "lib/x.so.2": _LIBRARY[:700] + b"inserted" + _LIBRARY[700:-50] + b"end",
        "large": _LARGE[:4000] + noise(90, 3) + _LARGE[4000:],
        **_FILES,
        "new/one": noise(500, 4),
        "new/again": noise(500, 4),
        "n" * 130: text(40),
    },
    mtime=1_700_000_000,
)
TARGET = an_image(BASE, _CHANGED, b"not a tar")
SMALLEST = an_image(b"hi\n")


def pyc(stamp: int) -> bytes:
    """Return a compiled module as pip leaves it: the time of its source is in it."""
    return b"\xa7\r\r\n" + bytes(4) + stamp.to_bytes(4, "little") + b"\x10\0\0\0" + b"code" * 30


def packed(members: dict[str, bytes]) -> bytes:
    """Return a zip file of deflated members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()


def _modules(build: int, lines: int) -> dict[str, bytes]:
    classes = {f"org/demo/Class{number}.class": noise(90, number) + text(30) for number in range(6)}
    classes["org/demo/Class3.class"] = noise(90, 3) + text(lines)
    modules = {f"site/m{number}.pyc": pyc(build + number // 3) for number in range(6)}
    return {**modules, "site/notes.txt": text(lines), "lib/demo.jar": packed(classes)}


MODULES_1 = an_image(BASE, a_layer(_modules(1_600_000_000, 200), mtime=1_600_000_000))
MODULES_2 = an_image(
    BASE,
    a_layer({**_modules(1_700_000_000, 210), "lib/new.jar": packed({"only": text(90)})}, mtime=1_700_000_000),
    a_layer({"odd": b"padding"})[:-1030] + b"x" * 1030,
)


def good_patches() -> dict[str, tuple[BuiltImage, tuple[BuiltImage, ...], bytes]]:
    """Return name → (target, sources, patch)."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        cases = {
            "good-smallest": (SMALLEST, (), V1_64M),
            "good-full": (TARGET, (), V1_64M),
            "good-from-source": (TARGET, (SOURCE,), V1_64M),
            "good-windows": (TARGET, (SOURCE,), _TINY),
            "good-modules": (MODULES_2, (MODULES_1,), V1_64M),
            "good-config-only": (an_image(*SOURCE.layers, note="other"), (SOURCE,), V1_64M),
        }
        return {
            name: (target, sources, a_patch(target, *sources, scratch=scratch, profile=profile)[0])
            for name, (target, sources, profile) in cases.items()
        }


def bad_patches(good: bytes) -> dict[str, tuple[bytes, str]]:
    """Return name → (damaged copy of ``good``, code of its refusal)."""
    header = read_patch_header(io.BytesIO(good))
    head = len(header_to_bytes(header))
    body = good[head:]

    def changed(**fields: object) -> bytes:
        return header_to_bytes(replace(header, **fields)) + body  # type: ignore[arg-type]

    first, *rest = header.streams
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
        "P8-order": (changed(streams=(*rest, first)), "content.invalid"),
        "P8-text": (changed(platform="linux amd64"), "content.invalid"),
        "P9-config": (changed(target_image_id="sha256:" + "00" * 32), "content.digest_mismatch"),
        "P10-platform": (changed(platform="linux/arm64"), "content.invalid"),
        "P14-kept": (changed(scratch_bytes=header.scratch_bytes - 1), "content.limit_exceeded"),
        "P15-damaged-stream": (good[:-60] + bytes(60), "content.*"),
    }


def _with_body(head: bytes, streams: bytes) -> bytes:
    magic = b"\x89imgdelt\x01"
    return magic + struct.pack("<II", len(head), zlib.crc32(head)) + head + streams


def bundles() -> dict[str, tuple[bytes, str]]:
    """Return name → (bundle, code of its refusal, "" for a good one)."""
    good = a_bundle()
    patch = len(PATCH)
    start = good.index(PATCH)
    stranger = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    return {
        "good": (good, ""),
        "good-full": (a_bundle(source_image_ids=()), ""),
        "B1-cut-in-head": (good[:99], "content.truncated"),
        "B1-cut-in-patch": (good[: start + 9], "content.truncated"),
        "B1-cut-in-tail": (good[:-1], "content.truncated"),
        "B2-goes-on": (good + b"\0", "content.invalid"),
        "B2-name": (good.replace(b"patch.imgdelta", b"../ch.imgdelta"), "content.invalid"),
        "B2-time": (good[:10] + b"\1" + good[11:], "content.invalid"),
        "B3-json": (good[:18] + b"\xff\xff\xff\x7f" + good[22:], "content.limit_exceeded"),
        "B4-no-seal": (a_bundle(sealer=None), "seal.missing"),
        "B5-stranger": (a_bundle(sealer=stranger), "seal.unknown_key"),
        "B6-other-content": (_sealed_as(a_head(device_id="other").to_bytes(), a_head().to_bytes()), "seal.invalid"),
        "B7-spaces": (_sealed(a_head().to_bytes().replace(b":1,", b": 1,")), "content.invalid"),
        "B7-neutral": (_sealed(a_head().to_bytes().replace(b'"attempt":1', b'"attempt":0')), "content.invalid"),
        "B8-version": (_sealed(a_head().to_bytes().replace(b'"version":1', b'"version":2')), "content.unsupported"),
        "B8-field": (_sealed(a_head().to_bytes()[:-1] + b',"wheels":4}'), "content.unsupported"),
        "B9-size": (_sealed(a_head(patch_bytes=patch + 1).to_bytes()), "content.invalid"),
        "B10-patch": (good[:start] + b"W" + good[start + 1 :], "content.digest_mismatch"),
    }


def _sealed(content: bytes) -> bytes:
    return _sealed_as(content, content)


def _sealed_as(content: bytes, sealed: bytes) -> bytes:
    parts = BundleParts(pack_json(content), content, seal(sealed, SEALER), zlib.crc32(PATCH), len(PATCH))
    return head_bytes(parts) + PATCH + tail_bytes(parts)


def files() -> dict[str, bytes]:
    """Return every vector file by its name below this folder."""
    made: dict[str, bytes] = {}
    listed: dict[str, object] = {}
    good = good_patches()
    for name, (target, sources, patch) in good.items():
        made[f"patch/{name}.imgdelta"] = patch
        listed[name] = {"imageId": target.image_id, "layers": list(target.image.diff_ids), "sources": len(sources)}
    for diff_id, tar in layers_of(SOURCE, MODULES_1).items():
        made[f"patch/source-{diff_id[7:19]}.tar"] = tar
    for name, (patch, code) in bad_patches(good["good-from-source"][2]).items():
        made[f"patch/{name}.imgdelta"] = patch
        listed[name] = {"code": code}
    for image in (SOURCE, MODULES_1):
        made[f"patch/source-{image.image_id[7:19]}.json"] = image.image.config
    made["patch/vectors.json"] = _json(listed)
    made |= {f"bundle/{name}.imgbundle": bundle for name, (bundle, _) in bundles().items()}
    made["bundle/vectors.json"] = _json({name: {"code": code} for name, (_, code) in bundles().items()})
    made["bundle/trusted.pub"] = (SEALER.public_key.to_text() + "\n").encode()
    return made


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    for file_name, content in files().items():
        (FOLDER / file_name).write_bytes(content)
