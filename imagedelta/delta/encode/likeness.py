"""Whether hardly anything of a file is in its base as it is: a program that another compiler made, or of much later.

A few samples tell, long before a search would.
"""

from __future__ import annotations

_SAMPLES, _SAMPLE_BYTES = 48, 24
_ALIKE = 0.4
"""Of the samples, so many are in the old version of a program that was not compiled anew."""


def is_unlike(old: bytes, new: bytes) -> bool:
    """Return whether fewer than two in five samples of ``new`` are in ``old``."""
    return share_found(old, new) < _ALIKE


def share_found(old: bytes, new: bytes) -> float:
    """Return the share of samples of ``new`` that are in ``old``; samples of zeros are not counted."""
    step = max(1, len(new) // _SAMPLES)
    samples = [new[at : at + _SAMPLE_BYTES] for at in range(step // 2, len(new), step)]
    telling = [sample for sample in samples if sample.count(0) < len(sample) // 2]
    return sum(sample in old for sample in telling) / max(1, len(telling))
