"""Memory and open files of building and applying, each in a process of its own, on images far larger than allowed.

The images are 300 MB in many files and one file of 200 MB, and changed texts; their content repeats itself, so that
they are quick to make and to code, which changes nothing about what is kept in memory.
"""

import hashlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from imagedelta.limits import MIB

pytestmark = pytest.mark.e2e

_COMMON = """
import hashlib, io, json, random, sys, tarfile
from pathlib import Path
from imagedelta.delta import FileReader, ImageContent, LayerContent, apply_patch
from imagedelta.delta.encode import build_patch
from imagedelta.signatures import index_layer

def config_of(diff_ids):
    rootfs = {"type": "layers", "diff_ids": list(diff_ids)}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()

def content(*paths):
    layers = []
    for path in paths:
        with path.open("rb") as stream:
            layers.append(LayerContent(index_layer(stream), FileReader(path)))
    config = config_of([layer.index.diff_id for layer in layers])
    return ImageContent("sha256:" + hashlib.sha256(config).hexdigest(), config, tuple(layers))

def peak():
    lines = open("/proc/self/status").read().splitlines()  # ru_maxrss would count pytest before the exec
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
"""

_TAR = """
def tar(path, files, mtime):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime
            out.addfile(info, io.BytesIO(data))
"""

_MAKE = """
rng = random.Random(5)
words = [rng.randbytes(400) for _ in range(500)]
def stuff(size):
    return b"".join(rng.choices(words, k=size // 400))
def sparse(size):
    return b"".join(rng.randbytes(1000) + bytes(99_000) for _ in range(size // 100_000))
many = {f"lib/f{n}.so": stuff(400_000) + bytes(600_000) for n in range(100)}
big = sparse(100_000_000) + stuff(4_000_000) + sparse(96_000_000)
tar(folder / "many-1", many, 1)
tar(folder / "many-2", {name: data[:-1] + b"!" for name, data in many.items()}, 2)
tar(folder / "big-1", {"big": big}, 1)
tar(folder / "big-2", {"big": big[:101_000_000] + b"inserted" + big[101_000_000:]}, 2)
"""

_MAKE_TEXTS = """
def text(n, change):
    line = b"%d: the words of a line that comes again and again in this one text\\n" % n
    return line * 700 + change + line * 700
def texts(change):
    return {f"src/{n % 40}/m{n}.js": text(n, change) for n in range(int(sys.argv[3]))}
tar(folder / "texts-1", texts(b"old\\n"), 1)
tar(folder / "texts-2", texts(b"new\\n"), 2)
"""

_BUILD_TEXTS = """
target, source = content(folder / "texts-2"), content(folder / "texts-1")
with (folder / "texts.patch").open("wb") as out:
    summary = build_patch(target, [source], out, scratch=folder, threads=2)
print(json.dumps({"peak": peak(), "bytes": summary.bytes, "full": summary.full_bytes}))
"""

_BUILD_WITH_FEW_FILES = """
import resource
tar(folder / "files", {f"data/{n}": n.to_bytes(4, "big") + bytes(1_100_000) for n in range(300)}, 1)
target = content(folder / "files")
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
with (folder / "files.patch").open("wb") as out:
    print(json.dumps({"bytes": build_patch(target, [], out, scratch=folder).bytes}))
"""

_BUILD = """
target, source = content(folder / "many-2", folder / "big-2"), content(folder / "many-1", folder / "big-1")
with (folder / f"{name}.patch").open("wb") as out:
    summary = build_patch(target, [source] if name == "change" else [], out, scratch=folder)
print(json.dumps({"peak": peak(), "bytes": summary.bytes, "full": summary.full_bytes}))
"""

_APPLY = """
class Sink:
    def has(self, diff_id): return False
    def begin(self, diff_id, size):
        self.out = (folder / "out").open("wb")
        return self.out
    def commit(self, diff_id): self.out.close()
    def abort(self, diff_id): self.out.close()
source = {diff_id: FileReader(folder / name) for name, diff_id in json.loads(sys.argv[3]).items()}
with (folder / f"{name}.patch").open("rb") as patch:
    apply_patch(patch, source.__getitem__, lambda image_id: config_of(source), Sink())
print(json.dumps({"peak": peak()}))
"""


def run(part: str, folder: Path, name: str = "", *more: str) -> dict:
    script = _COMMON + _TAR + "folder, name = Path(sys.argv[1]), sys.argv[2]\n" + textwrap.dedent(part)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), name, *more],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    return json.loads(done.stdout) if done.stdout else {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    run(_MAKE, folder)
    yield folder
    for path in folder.iterdir():
        path.unlink()


def diff_ids(folder: Path) -> str:
    found = {}
    for name in ("many-1", "big-1"):
        with (folder / name).open("rb") as stream:
            found[name] = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps(found)


@pytest.mark.parametrize("name", ["change", "full"])
def test_a_300_mb_image_is_built_in_1_gib_and_applied_in_128_mib(folder, name):
    built = run(_BUILD, folder, name)
    applied = run(_APPLY, folder, name, diff_ids(folder))

    assert built["peak"] < 1024 * MIB
    assert applied["peak"] < 128 * MIB
    assert built["full"] > 300_000_000
    if name == "change":
        assert built["bytes"] < built["full"] / 1000


def test_memory_does_not_grow_with_the_number_of_changed_texts(tmp_path):
    peaks = []
    for number in (400, 2000):
        run(_MAKE_TEXTS, tmp_path, "", str(number))
        built = run(_BUILD_TEXTS, tmp_path)
        peaks.append(built["peak"])

    assert built["full"] > 190_000_000
    assert peaks[1] < peaks[0] + 100 * MIB


def test_a_build_of_300_chunks_needs_few_open_files(tmp_path):
    assert run(_BUILD_WITH_FEW_FILES, tmp_path)["bytes"] < 1_000_000
