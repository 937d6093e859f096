"""How long one target takes against two hundred signatures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice

from imagedelta.ranking import rank
from imagedelta.signatures import Signature

CANDIDATES = 200


def seconds_to_rank(signatures: Sequence[Signature]) -> tuple[float, float]:
    """Return the seconds that the slowest target takes, and how many of them go into reading the signatures.

    Each candidate is read from its stored bytes anew, as in a service that remembers nothing.
    """
    stored = [signature.to_bytes() for signature in islice(cycle(signatures), CANDIDATES)]
    taken = []
    for target in signatures:
        started = time.perf_counter()
        candidates = [Signature.from_bytes(data) for data in stored]
        read = time.perf_counter()
        rank(target, candidates)
        taken.append((time.perf_counter() - started, read - started))
    return max(taken)
