"""Real patches between pairs of images, against which ranking is judged: one JSON line a pair, resumable.

Two codings. ``device`` is the engine as it is. ``quick`` is the engine but for the last step: its streams are
packed by LZMA's fastest preset, which takes a fifth of the time and makes patches larger by about the same part
from whichever source. It serves between images of different kinds, where nearly everything is literal.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest import mock

from benchmarks.ranking_images import ImageShelf
from benchmarks.results import BadResults, append_line
from imagedelta.delta import DEFAULT_PROFILE, profile_named
from imagedelta.delta.encode import build_patch
from imagedelta.delta.encode.codings import Lzma2
from imagedelta.delta.encode.spools import RawStreams
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.format.coders import LZMA2
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

DEVICE, QUICK = "device", "quick"
_QUICK_DICTIONARY = 16 * MIB
_QUICK_CODER = Lzma2(LZMA2, {"preset": 1})


@dataclass(frozen=True)
class Pair:
    """A patch from one image to another."""

    target: str
    source: str
    coding: str
    patch_bytes: int
    seconds: float


def measure(
    shelf: ImageShelf, target: str, source: str, coding: str, profile: str = DEFAULT_PROFILE.name, threads: int = 1
) -> Pair:
    """Build one patch; nothing of it is kept but its size."""
    wanted, given = shelf.content(target), shelf.content(source)
    patched = (
        mock.patch("imagedelta.delta.encode.build.plan_streams", _quick_plans) if coding == QUICK else nullcontext()
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, Path(os.devnull).open("wb") as out, patched:
        form = profile_named(profile)
        summary = build_patch(wanted, [given], out, profile=form, scratch=Path(scratch), threads=threads)
    return Pair(target, source, coding, summary.bytes, round(time.monotonic() - started, 2))


def _quick_plans(raw: RawStreams, sizes: Mapping[Role, tuple[int, ...]], *given: object) -> list[StreamPlan]:
    """Stand in for ``stream_plans.plan_streams``."""
    return [StreamPlan(role, _QUICK_DICTIONARY, segments, _QUICK_CODER) for role, segments in sizes.items()]


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
