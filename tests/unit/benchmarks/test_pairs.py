"""Other kinds of programs: what is in the images, and how figures become a table."""

import io
import json
import struct
import tarfile
from types import SimpleNamespace

from benchmarks import pairs
from benchmarks.pair_sources import FromNpm
from benchmarks.pairs import PAIRS, TOOLS, Pair, measure, table

_MARK = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")


def a_program_of_one_file(files):
    """Return a .NET program with assemblies behind its machine code, and their list at its end."""
    host = b"\x7fELF" + bytes(100) + b"?" * 8 + _MARK
    listed = struct.pack("<III", 6, 0, len(files)) + b"\x04name" + bytes(40)
    data = host
    for name, content in files.items():
        listed += struct.pack("<qqqB", len(data), len(content), 0, 1) + bytes([len(name)]) + name.encode()
        data += content
    return data.replace(b"?" * 8, struct.pack("<q", len(data))) + listed


def kept_package(folder, name, version, files):
    place = folder / f"npm-{name.replace('/', '-')}-{version}"
    place.mkdir(parents=True)
    with tarfile.open(place / "package.tgz", "w:gz") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_a_program_of_one_file_is_taken_apart(tmp_path):
    inside = {"A.dll": b"MZ one", "folder/B.dll": b"MZ two, longer"}
    kept_package(tmp_path, "@some/tool", "1", {"package/tool": a_program_of_one_file(inside), "package/a.txt": b"text"})

    found = dict(FromNpm().files("@some/tool", "1", tmp_path))

    assert found["package/a.txt"] == b"text"
    assert found["package/tool"].startswith(b"\x7fELF")
    assert {
        path.removeprefix("package/tool.files/"): data for path, data in found.items() if "files/" in path
    } == inside


def test_a_program_whose_files_lie_beside_it_is_one_file(tmp_path):
    host = b"\x7fELF" + bytes(108) + _MARK
    kept_package(tmp_path, "@some/tool", "1", {"package/tool": host, "package/A.dll": b"MZ one"})

    assert dict(FromNpm().files("@some/tool", "1", tmp_path)) == {"package/tool": host, "package/A.dll": b"MZ one"}


class Releases:
    """A package of two files, of which one is the same in each release."""

    def files(self, name, version, kept):
        yield "same", b"same" * 9000
        yield f"changed-{version}.txt", version.encode() * 500


def test_what_is_the_same_in_both_releases_is_in_neither_image(tmp_path, monkeypatch):
    done = SimpleNamespace(stdout='{"patchBytes": 77}')
    monkeypatch.setattr(pairs.subprocess, "run", lambda command, **_: done)

    measured = list(
        measure([Pair("Text", Releases(), "a", "1", "2")], TOOLS, tmp_path, "imagedelta", lambda line: None)
    )

    figures = {key: value for each in measured for key, value in each.items()}
    assert figures["v2-64m"] == figures["v2-64m-cm"] == 77
    assert 0 < figures["hdiffpatch"] < 1000
    assert figures["image"] < 20_000


def test_the_later_of_two_figures_of_a_pair_counts_for_each_tool():
    pair = {"pair": "Go: x 1 → 2", "image": 5_000_000}
    measured = [
        pair | {"hdiffpatch": 800, "v1-64m": 1000, "v2-64m": 9},
        pair | {"v2-64m-cm": 300},
        pair | {"v2-64m": 400},
    ]

    made = table(["", *map(json.dumps, measured)])

    assert made.rows == (("Go: x 1 → 2", "5.0", "800", "1,000", "400", "300", "-60 %", "-50 %", "-25 %"),)


def test_what_was_not_measured_is_empty():
    made = table([json.dumps({"pair": "Go: x 1 → 2", "image": 5_000_000, "v2-64m": 400})])

    assert made.rows == (("Go: x 1 → 2", "5.0", "", "", "400", "", "", "", ""),)


def test_pairs_are_told_apart_by_their_titles():
    assert len({pair.title for pair in PAIRS}) == len(PAIRS)
