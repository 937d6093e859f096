"""The difference of two programs, their references predicted, where that packs better.

Matches are sought twice: in the files as they are, and with all references masked, so that code that only moved is
found whole. The second search is begun only where the first left something to win.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imagedelta.delta import byte_sums
from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.file_diff import Difference, between
from imagedelta.delta.encode.matches import Match, matches
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.prediction import MAX_BYTES, MAX_CONTROLS, START_BYTES, Kind, parts
from imagedelta.delta.predict.walk import PredictedWalk
from imagedelta.delta.predict.x86_64 import masked

_WORTH_A_SEARCH = 300
"""A difference that packs to less is taken as it is."""


def predicted_difference(plain: Difference, old: bytes, new: bytes, min_match: int) -> Difference:
    """Return the difference that packs best: ``plain``, or one with references predicted."""
    old_image, new_image = read_elf(old[:START_BYTES]), read_elf(new[:START_BYTES])
    if max(len(old), len(new)) > MAX_BYTES or not old_image or not new_image or plain.cost() < _WORTH_A_SEARCH:
        return plain
    old_masked, new_masked = masked(old, old_image), masked(new, new_image)
    found = matches(old_masked, new_masked)
    ways = [plain]
    for line in (found, straighten(found, old_masked, new_masked)):
        kept = _good(line, old_masked, new_masked, min_match)
        ways.append(between(old, new, kept, 1))
    candidates = [_predicted(way, old, new) for way in ways if len(way.controls) <= MAX_CONTROLS]
    return min((plain, *candidates), key=Difference.cost)


def _good(found: Sequence[Match], old: bytes, new: bytes, min_match: int) -> list[Match]:
    """Return the matches of which most is equal in the masked files."""
    good = []
    for match in found:
        size = match.length
        ours, theirs = new[match.new : match.new + size], old[match.old : match.old + size]
        if size >= 4 * min_match or (size >= min_match and 2 * byte_sums.subtract(ours, theirs).count(0) >= size):
            good.append(match)
    return good


def _predicted(way: Difference, old: bytes, new: bytes) -> Difference:
    """Return the difference along the same matches from what the references are predicted to be."""
    base = Extent(BytesReader(old), 0, len(old))
    walk = PredictedWalk(Kind.X86_64, way.start, way.controls, base)
    walk.made(new[:START_BYTES])
    out = bytearray()
    for match, _ in walk.steps():
        for part, may in parts(match):
            made = new[part.new : part.new + part.length]
            out += byte_sums.subtract(made, walk.old(part, predict=may))
    return replace(way, difference=bytes(out), kind=Kind.X86_64)
