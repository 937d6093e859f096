"""Stretches of a match in which nothing is alike: signatures, certificates, hashes, what is packed.

As differences from old bytes they are noise, as new bytes they may be what another file has, too: all assemblies of a
release are signed with the same certificates.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator

from imagedelta.delta.encode.matches import Match

_UNLIKE = re.compile(rb"[^\0](?:[^\0]|\0{1,2}(?=[^\0])){62,}")
"""At least 63 bytes without three in a row that are equal."""
_IS_NOISE = 0.9
"""What packs to less is regular: numbers that all moved by the same."""


def without_unlike(found: Iterable[Match], difference: bytes) -> Iterator[Match]:
    """Yield the matches without such stretches.

    Args:
        difference: Of all of them, one after the other.
    """
    start = 0
    for match in found:
        at = 0
        for unlike in _UNLIKE.finditer(difference, start, start + match.length):
            if len(zlib.compress(unlike[0], 1)) < _IS_NOISE * len(unlike[0]):
                continue
            first = unlike.start() - start
            if first > at:
                yield Match(match.old + at, match.new + at, first - at)
            at = unlike.end() - start
        if at < match.length:
            yield Match(match.old + at, match.new + at, match.length - at)
        start += match.length
