"""How LZMA2 is tuned: what measured best on some kind of stream (docs/adr/0009), and which of them is best for one."""

from __future__ import annotations

from imagedelta.delta.encode.codings import Lzma2
from imagedelta.delta.format.coders import LZMA2, LZMA2_X86, MIN_DICTIONARY

CODE_TUNING = {"lc": 0, "lp": 1, "pb": 1}
_TUNINGS: tuple[dict[str, int], ...] = (
    {},
    {"lc": 0, "lp": 0, "pb": 0},
    {"lc": 4, "lp": 0, "pb": 0},
    CODE_TUNING,
    {"lc": 1, "lp": 1, "pb": 0},
)


def tuned(has_code: bool) -> list[Lzma2]:
    """Return what may be best.

    Args:
        has_code: Whether the x86 filter is tried.
    """
    coders = (LZMA2_X86, LZMA2) if has_code else (LZMA2,)
    return [Lzma2(number, tuning) for number in coders for tuning in _TUNINGS]


def best_tuned(data: bytes, has_code: bool) -> Lzma2:
    """Return what packs a sample best, the first of equals."""
    dictionary = max(MIN_DICTIONARY, len(data))
    return min(tuned(has_code), key=lambda lzma2: len(lzma2.pack(data, dictionary)))
