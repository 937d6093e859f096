"""The tools that are compared: how each is run, what it needs, how to install it.

Options are each tool's strongest that still ends in minutes; those that cannot pack well by themselves get zstd after.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import OURS

Command = list[str]


@dataclass(frozen=True)
class Job:
    """The files of one measurement."""

    source: Path | None
    target: Path
    patch: Path
    output: Path
    scratch: Path
    """For a file between two steps; gone after the measurement."""

    @property
    def old(self) -> str:
        """The source as an argument; "" when there is none."""
        return str(self.source or "")

    @property
    def source_bytes(self) -> int:
        return self.source.stat().st_size if self.source else 0


Steps = Callable[[Job], list[Command]]


@dataclass(frozen=True)
class Tool:
    """One way to move an image."""

    name: str
    title: str
    build: Steps
    apply: Steps
    programs: tuple[str, ...] = ()
    module: str = ""
    install: str = ""
    needs_source: bool = True
    bytes_per_source_byte: float = 0
    """Memory that it takes for each byte of the source at least, measured; 0: not enough to matter."""
    same_file: bool = True
    """Whether the output is the target, byte for byte; otherwise it is checked in another way."""

    def missing(self) -> str:
        """What to do to have it, "" when it is there."""
        there = all(map(shutil.which, self.programs)) and (not self.module or importlib.util.find_spec(self.module))
        return "" if there else self.install

    def version(self) -> str:
        """Of what is installed."""
        if self.module:
            return importlib.metadata.version(self.module)
        return ", ".join(_first_line(program) for program in self.programs)


def _first_line(program: str) -> str:
    flag = "-V" if program == "xdelta3" else "--version"
    done = subprocess.run(  # noqa: S603 - programs of this file
        [shutil.which(program) or program, flag], capture_output=True, text=True, check=False
    )
    line = next(iter((done.stdout + done.stderr).strip().splitlines()), "?")
    return line.partition(", Copyright")[0].partition(", by ")[0].strip("* ")


def _python(*arguments: str) -> Command:
    return [sys.executable, "-m", "benchmarks.peer_programs", *arguments]


def _library(name: str) -> tuple[Steps, Steps]:
    def build(job: Job) -> list[Command]:
        return [_python(f"{name}_diff", job.old, str(job.target), str(job.patch))]

    def apply(job: Job) -> list[Command]:
        return [_python(f"{name}_apply", job.old, str(job.patch), str(job.output))]

    return build, apply


def _ours(program: str, *chosen: str) -> tuple[Steps, Steps]:
    """``chosen``: options of ``diff``."""

    def source(job: Job) -> Command:
        return ["--source", job.old] if job.source else []

    def build(job: Job) -> list[Command]:
        return [[program, "diff", str(job.target), *source(job), *chosen, "-o", str(job.patch), "--json"]]

    def apply(job: Job) -> list[Command]:
        return [[program, "apply", str(job.patch), *source(job), "-o", str(job.output), "--json"]]

    return build, apply


def _layers() -> tuple[Steps, Steps]:
    def apply(job: Job) -> list[Command]:
        return [_python("layers_apply", job.old, str(job.patch), str(job.output), str(job.target))]

    return _library("layers")[0], apply


def _xdelta() -> tuple[Steps, Steps]:
    return _xdelta_build, _xdelta_apply


def _zstd() -> tuple[Steps, Steps]:
    return _zstd_build, _zstd_apply


_PACK = ["zstd", "-q", "-f", "-19", "--long=27"]
_UNPACK = ["zstd", "-q", "-f", "-d", "--long=27"]
_FROM = ["--long=31", "--memory=2048MB"]


def _xdelta_build(job: Job) -> list[Command]:
    window = str(max(job.source_bytes, 1 << 20))
    made = ["xdelta3", "-f", "-e", "-9", "-S", "none", "-B", window, "-s", job.old, str(job.target), str(job.scratch)]
    return [made, [*_PACK, str(job.scratch), "-o", str(job.patch)]]


def _xdelta_apply(job: Job) -> list[Command]:
    window = str(max(job.source_bytes, 1 << 20))
    made = ["xdelta3", "-f", "-d", "-B", window, "-s", job.old, str(job.scratch), str(job.output)]
    return [[*_UNPACK, str(job.patch), "-o", str(job.scratch)], made]


def _rdiff_build(job: Job) -> list[Command]:
    signature = str(job.scratch) + ".sig"
    return [
        ["rdiff", "-f", "-b", "1024", "signature", job.old, signature],
        ["rdiff", "-f", "delta", signature, str(job.target), str(job.scratch)],
        [*_PACK, str(job.scratch), "-o", str(job.patch)],
    ]


def _rdiff_apply(job: Job) -> list[Command]:
    made = ["rdiff", "-f", "patch", job.old, str(job.scratch), str(job.output)]
    return [[*_UNPACK, str(job.patch), "-o", str(job.scratch)], made]


def _zstd_build(job: Job) -> list[Command]:
    dictionary = [f"--patch-from={job.old}"] if job.source else []
    return [["zstd", "-q", "-f", "-19", "--long=31", *dictionary, str(job.target), "-o", str(job.patch)]]


def _zstd_apply(job: Job) -> list[Command]:
    dictionary = [f"--patch-from={job.old}"] if job.source else []
    return [["zstd", "-q", "-f", "-d", *_FROM, *dictionary, str(job.patch), "-o", str(job.output)]]


def our_program() -> str:
    """The installed command line: beside this Python, else on the path."""
    beside = Path(sys.executable).with_name("imagedelta")
    return str(beside) if beside.exists() else shutil.which("imagedelta") or "imagedelta"


def _our_tools(program: str) -> list[Tool]:
    """This engine: with its default profile, with the first format, and with the native coder twice."""
    native = "imagedelta_native", "pip install ./native"
    return [
        Tool(name, name, *_ours(program, *chosen), (program,), *more, needs_source=False, same_file=False)
        for name, chosen, more in (
            (OURS, (), ("", "pip install .")),
            (f"{OURS}-v1", ("--profile", "v1-64m"), ("", "pip install .")),
            (f"{OURS}-cm", ("--profile", "v2-64m-cm"), native),
            (f"{OURS}-thin", ("--profile", "v2-64m-cm-thin"), native),
        )
    ]


def tools(program: str = "") -> dict[str, Tool]:
    """All tools by name, ours first.

    Args:
        program: Our command line; the installed one by default.
    """
    ours = program or our_program()
    listed = (
        *_our_tools(ours),
        Tool("layers", "layer transfer", *_layers(), needs_source=False, same_file=False),
        Tool("rdiff", "rdiff + zstd", _rdiff_build, _rdiff_apply, ("rdiff", "zstd"), install="apt install rdiff zstd"),
        Tool("xdelta3", "xdelta3 + zstd", *_xdelta(), ("xdelta3", "zstd"), install="apt install xdelta3 zstd"),
        Tool("zstd", "zstd --patch-from", *_zstd(), ("zstd",), install="apt install zstd", needs_source=False),
        Tool("hdiffpatch", "hdiffpatch", *_library("hdiffpatch"), (), "hdiffpatch", "pip install .", True, 6.3),
        Tool("bsdiff4", "bsdiff4", *_library("bsdiff4"), (), "bsdiff4", "pip install .", True, 17),
    )
    return {tool.name: tool for tool in listed}
