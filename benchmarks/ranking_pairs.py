"""Real patches between pairs of images, against which ranking is judged: one JSON line a pair, resumable.

Two codings. ``device`` is the engine as it is. ``quick`` is the engine but for the last step: its streams are
packed by LZMA's fastest preset, which takes a fifth of the time and makes patches larger by about the same part
from whichever source. It serves between images of different kinds, where nearly everything is literal.
"""

from __future__ import annotations

import json
import lzma
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from benchmarks.ranking_images import ImageShelf
from benchmarks.results import BadResults, append_line
from imagedelta.delta import Profile
from imagedelta.delta.encode import build_patch
from imagedelta.delta.encode.job_queue import JobQueue
from imagedelta.delta.encode.spools import spooled_file
from imagedelta.delta.encode.stream_coding import Coded, RawStream
from imagedelta.delta.format.coders import LZMA2, Params, lzma2_filters
from imagedelta.delta.format.header import PatchStream
from imagedelta.limits import MIB

DEVICE, QUICK = "device", "quick"
_QUICK_DICTIONARY = 16 * MIB


@dataclass(frozen=True)
class Pair:
    """A patch from one image to another."""

    target: str
    source: str
    coding: str
    patch_bytes: int
    seconds: float


def measure(shelf: ImageShelf, target: str, source: str, coding: str, threads: int = 1) -> Pair:
    """Build one patch; nothing of it is kept but its size."""
    wanted, given = shelf.content(target), shelf.content(source)
    patched = (
        mock.patch("imagedelta.delta.encode.build.code_streams", _quick_streams) if coding == QUICK else nullcontext()
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Path(os.devnull).open("wb") as out, patched:
        summary = build_patch(wanted, [given], out, scratch=Path(scratch), threads=threads)
    return Pair(target, source, coding, summary.bytes, round(time.monotonic() - started, 2))


def _quick_streams(
    raw: Sequence[RawStream], budget: int, profile: Profile, scratch: Path, exits: ExitStack, queue: JobQueue
) -> list[Coded]:
    """Stand in for ``stream_coding.code_streams``."""
    return [_quick_stream(stream, scratch, exits) for stream in raw]


def _quick_stream(raw: RawStream, scratch: Path, exits: ExitStack) -> Coded:
    role, stream, size = raw
    out = exits.enter_context(spooled_file(scratch, MIB))
    packer = lzma.LZMACompressor(lzma.FORMAT_RAW, filters=lzma2_filters(_QUICK_DICTIONARY, x86=False, preset=1))
    while block := stream.read(MIB):
        out.write(packer.compress(block))
    out.write(packer.flush())
    coded = PatchStream(role, LZMA2, Params(dictionary_bytes=_QUICK_DICTIONARY), size, out.tell())
    out.seek(0)
    return Coded(coded, out)


def append(path: Path, pair: Pair) -> None:
    """Add a line; what is written stays when the run is cut."""
    append_line(path, asdict(pair))


def read(path: Path) -> list[Pair]:
    """Read what ``append`` wrote; a file that is not there has no pairs.

    Raises:
        BadResults: A line is no pair.
    """
    pairs = []
    for number, line in enumerate(path.read_text("utf-8").splitlines() if path.exists() else (), 1):
        try:
            pairs.append(Pair(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise BadResults(f"{path.name}, line {number}: {error!r}") from error
    return pairs


def missing(wanted: Iterable[tuple[str, str]], measured: Iterable[Pair], coding: str) -> list[tuple[str, str]]:
    """Return the pairs (target, source) without a figure in this coding."""
    done = {(pair.target, pair.source) for pair in measured if pair.coding == coding}
    return [pair for pair in wanted if pair not in done]
