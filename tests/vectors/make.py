"""Makes the vectors of the patch and bundle formats: ``python -m tests.vectors.make``.

A test holds that what is stored equals what this makes with the pinned codecs, so that no byte of a format
moves unnoticed. Bad vectors are named by the rule of the format document that they break.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from imagedelta.bundles import Ed25519Sealer, canonical_bytes, seal
from imagedelta.bundles.zip_layout import BundleParts, head_bytes, pack_json, tail_bytes
from imagedelta.delta import BytesReader, read_patch_header
from imagedelta.delta.deflate.folding import Deflater
from imagedelta.delta.encode import build
from imagedelta.delta.format.items import STREAM_OF, Header, Item, ItemWriter, Way
from imagedelta.delta.format.profiles import PROFILES, V1_64M, V2_64M, Profile
from imagedelta.delta.format.references import References
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB
from tests.images import BuiltImage, a_layer, an_image
from tests.unit.bundles.bundles import ANYONE, PATCH, SEALER, a_bundle, a_head, a_shared
from tests.unit.delta import tar_kinds
from tests.unit.delta.patches import a_patch, layers_of
from tests.unit.delta.predict.arm_programs import an_arm_program
from tests.unit.delta.predict.assemblies import Source, assembly, call, fat, ready_to_run
from tests.unit.delta.predict.programs import a_library
from tests.vectors.bad_patches import (
    bad_blocks,
    bad_digests,
    bad_folds,
    bad_heads,
    bad_items,
    bad_layers,
    bad_mixed_programs,
    bad_mixing,
    bad_predictions,
    bad_programs,
)
from tests.vectors.raw_patch import RawPatch, laid_open

FOLDER = Path(__file__).parent
MIXING = PROFILES["v2-64m-cm-thin"]
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


_NEWS = b"".join(noise(4, line).hex().encode() + noise(60, line % 9).hex().encode() for line in range(600))
_CUTS = (20_000, 1, 30_000)


def cut(plain: bytes) -> bytes:
    """Return it as a gzip file whose blocks do not end where zlib would end them."""
    deflater = Deflater(9, 9, _CUTS)
    header = b"\x1f\x8b\x08\0\0\0\0\0\x02\x03"
    return header + deflater.compress(plain) + deflater.finish() + struct.pack("<2I", zlib.crc32(plain), len(plain))


NEWS_1, NEWS_2 = an_image({"news.gz": cut(_NEWS)}), an_image({"news.gz": cut(b"news: " + _NEWS)})


def program() -> bytes:
    """Return code of many calls to few functions: the filter for x86 makes their targets alike."""
    calls = (noise(3, at) + b"\xe8" + struct.pack("<i", 4000 * (at % 3) - 8 * at) for at in range(900))
    return b"\x7fELF\0" + b"".join(calls)


PROGRAM = an_image({"bin/program": program()})
_LOADS = [(place, (place * place % 251, 0x48, 0x8B, 0x05)) for place in range(4, 3000, 8)]
CODE_ALONE = an_image(
    {"bin/program": b"\x7fELF" + b"".join(bytes(load) + struct.pack("<i", 5000 - place - 8) for place, load in _LOADS)}
)
"""Loads of one thing. Short, as the second reader mixes a few hundred bytes a second."""


def moved_program() -> bytes:
    """Return a part of a program in which some calls, which the byte before them tells, are longer."""
    out = bytearray(program()[:3000])
    for at in range(8, len(out) - 4, 8):
        if out[at - 1] & 2:
            out[at] = out[at] + 60 + out[at - 1] // 64 & 255
    return bytes(out)


def skewed(size: int) -> bytes:
    """Return bytes of which each but says which are likely behind it."""
    out = bytearray(b"a")
    for byte in noise(size, 12):
        out.append(97 + (out[-1] * 5 + (byte & byte // 16 & 3)) % 19)
    return bytes(out)


def installed(version: int) -> dict[str, bytes]:
    """Return files as two package managers leave them, and their lists; some are the same in both versions."""
    files = {f"usr/share/pkg/{number:02}": noise(40, number + 100 * version * (number % 3 > 0)) for number in range(12)}
    sums = b"".join(
        b"%s  %s\n" % (hashlib.md5(data).hexdigest().encode(), path.encode()) for path, data in files.items()
    )
    modules = {f"usr/site/pkg/m{number:02}.py": noise(30, 50 + number + 100 * version) for number in range(9)}
    record = b"".join(
        b"%s,sha256=%s,%d\n"
        % (path[9:].encode(), base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"="), len(data))
        for path, data in modules.items()
    )
    lists = {f"usr/site/pkg-{version}.dist-info/RECORD": record, "var/lib/dpkg/info/pkg.md5sums": sums}
    return {**files, **modules, **lists}


INSTALLED_1, INSTALLED_2 = an_image(installed(1)), an_image(installed(2))
MOVED = an_image({"bin/program": moved_program(), "new": skewed(900)})
PROGRAM_1 = an_image({"bin/program": program()[:3000]})
PARTED_FILE = text(30) + noise(90, 5)
PARTED = an_image({"parted": PARTED_FILE})
ABSENT = an_image(BASE, a_layer(_modules(1_600_000_000, 150)))
ROTTEN = an_image(BASE, a_layer(_modules(1_600_000_000, 160)))
OTHER_TARS = [
    an_image(BASE, tar_kinds.bsdtar(build), tar_kinds.sparse_with_blocks(build), tar_kinds.pax_size(build))
    for build in (tar_kinds.OLD, tar_kinds.NEW)
]
"""Numbers as bsdtar writes them, an old GNU sparse file, a size in a pax record."""
_PUT_IN = 60
"""Where a method is put in; what is called behind it moves by one."""


def _methods(moved: int) -> list[tuple[str, bytes]]:
    """Return methods that call each other and members of another assembly, in no order."""
    chosen = random.Random(8)
    methods = []
    for number in range(150):
        called = [chosen.randrange(150) for _ in range(3)]
        calls = b"".join(call(0x06000001 + one + (moved if one >= _PUT_IN else 0)) + b"\x17" for one in called)
        methods.append((f"Method{number}", fat(calls + call(0x0A000001 + chosen.randrange(40) + moved))))
    return methods


_CALLS = _methods(0)
_MORE_CALLS = _methods(1)
_MORE_CALLS.insert(_PUT_IN, ("Added", fat(b"\x2a" * 9)))
_MEMBERS = [f"Member{n}" for n in range(40)]


def _programs(inserted: dict[int, bytes], source: Source, functions: int, lines: int) -> dict[str, bytes]:
    return {
        "lib/library.so": a_library(150, inserted),
        "lib/arm.so": an_arm_program(150, inserted),
        "lib/assembly.dll": assembly(source),
        "lib/native.dll": ready_to_run(source, functions),
        "lib/demo.jar": packed({"one": text(lines), "two": text(90)}),
    }


PROGRAMS_1 = an_image(BASE, a_layer(_programs({}, Source(_CALLS, _MEMBERS), 150, 200)))
PROGRAMS_2 = an_image(
    BASE,
    a_layer(
        _programs({30: b"\x90" * 7, 100: b"\xcc" * 33}, Source(_MORE_CALLS, ["Put in", *_MEMBERS], ["More"]), 157, 210)
    ),
)
"""Programs and assemblies in which references moved."""
SOURCES = (SOURCE, MODULES_1, OTHER_TARS[0], PROGRAMS_1, NEWS_1, PROGRAM_1, INSTALLED_1, ABSENT, ROTTEN)
"""Of ABSENT only the config is stored, and of ROTTEN a layer with a wrong bit."""
Good = tuple[BuiltImage, tuple[BuiltImage, ...], bytes]
"""Target, sources, patch."""


def good_patches() -> dict[str, Good]:
    """Return name → (target, sources, patch)."""
    cases = {
        "good-smallest": (SMALLEST, (), V1_64M),
        "good-full": (TARGET, (), V1_64M),
        "good-from-source": (TARGET, (SOURCE,), V1_64M),
        "good-windows": (TARGET, (SOURCE,), _TINY),
        "good-modules": (MODULES_2, (MODULES_1,), V1_64M),
        "good-config-only": (an_image(*SOURCE.layers, note="other"), (SOURCE,), V1_64M),
        "good-code": (PROGRAM, (), V1_64M),
        "good-predicted": (PROGRAMS_2, (PROGRAMS_1,), V2_64M),
        "good-programs": (PROGRAMS_2, (), V2_64M),
        "good-cut-blocks": (NEWS_2, (NEWS_1,), V2_64M),
        "good-other-tars": (OTHER_TARS[1], (OTHER_TARS[0],), V1_64M),
        "good-mixed": (MOVED, (PROGRAM_1,), MIXING),
        "good-mixed-programs": (CODE_ALONE, (), MIXING),
        "good-listed": (INSTALLED_2, (INSTALLED_1,), V2_64M),
    }
    made: dict[str, Good] = {
        name: (target, sources, _patch(target, *sources, profile=profile))
        for name, (target, sources, profile) in cases.items()
    }
    made["good-parted"] = (PARTED, (), parted_patch())
    return made


def _patch(target: BuiltImage, *sources: BuiltImage, profile: Profile = V1_64M) -> bytes:
    """Return a patch in which new code is kept apart, as it is where there is much of it."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(build, "_MUCH_NEW_BYTES", 0):
        return a_patch(target, *sources, scratch=Path(folder), profile=profile)[0]


def parted_patch() -> bytes:
    """Return a patch whose file is a header and no data, then two items: what no writer here makes, but may be."""
    text, rest = PARTED_FILE[:500], PARTED_FILE[500:]
    streams: dict[Role, bytes] = {}

    class Spools:
        def write(self, role: Role, data: bytes) -> None:
            streams[role] = streams.get(role, b"") + data

    spools = Spools()
    writer = ItemWriter(spools, References(lambda layer: BytesReader(b""), []))
    writer.write(Item(Way.NONE), Header(PARTED.layers[0][:512], None))
    for way, data in ((Way.TEXT, text), (Way.LITERAL, rest)):
        writer.write(Item(way, len(data)))
        spools.write(STREAM_OF[way], data)
    writer.write(Item(Way.END, len(PARTED.layers[0]) - 512 - len(PARTED_FILE)))
    whole = _laid_open(PARTED, (), _patch(PARTED))
    return replace(whole, streams={Role.CONFIG: whole.streams[Role.CONFIG], **streams}).to_bytes()


_OPENED = ("good-smallest", "good-from-source", "good-modules", "good-predicted", "good-cut-blocks", "good-listed")


def bad_patches(good: Mapping[str, Good]) -> dict[str, tuple[bytes, str]]:
    """Return name → (patch that breaks the rule in its name, code of its refusal)."""
    opened = {name: _laid_open(*good[name]) for name in _OPENED}
    from_source, programs = (good[name][2] for name in ("good-from-source", "good-programs"))
    mixed, mixed_programs = (good[name][2] for name in ("good-mixed", "good-mixed-programs"))
    return {
        **bad_heads(from_source, opened["good-from-source"].header),
        **bad_layers(opened["good-smallest"]),
        **bad_items(opened["good-from-source"]),
        **bad_folds(opened["good-modules"]),
        **bad_predictions(opened["good-predicted"]),
        **bad_blocks(opened["good-cut-blocks"]),
        **bad_digests(opened["good-listed"]),
        **bad_programs(programs, read_patch_header(io.BytesIO(programs))),
        **bad_mixing(mixed, read_patch_header(io.BytesIO(mixed))),
        **bad_mixed_programs(mixed_programs, read_patch_header(io.BytesIO(mixed_programs))),
        "P7-no-layer": (_patch(MODULES_2, ABSENT), "source.missing"),
        "P7-different": (_patch(MODULES_2, ROTTEN), "source.different"),
    }


def _laid_open(target: BuiltImage, sources: Sequence[BuiltImage], patch: bytes) -> RawPatch:
    return laid_open(patch, layers_of(*sources), {source.image_id: source.image.config for source in sources})


def bundles() -> dict[str, tuple[bytes, str]]:
    """Return name → (bundle, code of its refusal, "" for a good one)."""
    good = a_bundle()
    patch = len(PATCH)
    start = good.index(PATCH)
    stranger = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    return {
        "good": (good, ""),
        "good-full": (a_bundle(source_image_ids=()), ""),
        "good-for-any-device": (a_bundle(**ANYONE), ""),
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
        "B11-no-device": (_half_addressed("deviceId"), "content.invalid"),
        "B11-no-number": (_half_addressed("number"), "content.invalid"),
        "B11-floor-alone": (_sealed(_with_floor(a_head(**ANYONE).to_bytes())), "content.invalid"),
        "B10-patch": (good[:start] + b"W" + good[start + 1 :], "content.digest_mismatch"),
    }


def shared_bundles() -> dict[str, tuple[bytes, str]]:
    """Return name → (file of a shared bundle of PATCH, code of its refusal, "" for a good one)."""
    good = a_shared()
    return {
        "good-shared": (good, ""),
        "B1-shared-cut-in-head": (good[:99], "content.truncated"),
        "B3-shared-patch": (_shared_claiming(2**60), "content.limit_exceeded"),
        "B4-shared-no-seal": (a_shared(sealer=None), "seal.missing"),
        "B10-shared-no-list": (good[:-32], "content.digest_mismatch"),
        "B10-shared-list": (good[:-1] + bytes([good[-1] ^ 1]), "content.digest_mismatch"),
    }


def _shared_claiming(patch_bytes: int) -> bytes:
    content = a_head(patch_bytes=patch_bytes).to_bytes()
    parts = BundleParts(pack_json(content), content, seal(content, SEALER), zlib.crc32(PATCH), patch_bytes)
    return head_bytes(parts) + bytes(32)


def _half_addressed(left_out: str) -> bytes:
    fields = json.loads(a_head().to_bytes())
    del fields[left_out]
    return _sealed(canonical_bytes(fields))


def _with_floor(head: bytes) -> bytes:
    return canonical_bytes(json.loads(head) | {"floor": 1})


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
    for diff_id, tar in layers_of(*SOURCES[:-2]).items():
        made[f"patch/source-{diff_id[7:19]}.tar"] = tar
    made[f"patch/source-{ROTTEN.image.diff_ids[1][7:19]}.tar"] = _rotten(ROTTEN.layers[1])
    for name, (patch, code) in bad_patches(good).items():
        made[f"patch/{name}.imgdelta"] = patch
        listed[name] = {"code": code}
    for image in SOURCES:
        made[f"patch/source-{image.image_id[7:19]}.json"] = image.image.config
    made["patch/vectors.json"] = _json(listed)
    made |= {f"bundle/{name}.imgbundle": bundle for name, (bundle, _) in bundles().items()}
    made |= {f"bundle/{name}.shared": shared for name, (shared, _) in shared_bundles().items()}
    every = bundles() | shared_bundles()
    made["bundle/vectors.json"] = _json({name: {"code": code} for name, (_, code) in every.items()})
    made["bundle/trusted.pub"] = (SEALER.public_key.to_text() + "\n").encode()
    return made


def _rotten(tar: bytes) -> bytes:
    """Return a layer with one wrong bit, in the data of its first file."""
    return tar[:600] + bytes([tar[600] ^ 1]) + tar[601:]


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    for file_name, content in files().items():
        (FOLDER / file_name).write_bytes(content)
