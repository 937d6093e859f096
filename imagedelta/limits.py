"""Every bound on bytes from outside, in one place.

A reader checks a declared size against these before it allocates or reads; a writer keeps to them, so that
what one part writes every other part accepts. Sizes are bytes unless the name says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from imagedelta.errors import LimitExceeded, RequestError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MOST_UNFOLDED = 1032
"""So many bytes deflate makes of one at most: two bits are a copy of 258."""

RAISABLE = {
    "archive-images": "max_archive_images",
    "archive-members": "max_archive_members",
    "manifest-bytes": "max_manifest_bytes",
    "window-bytes": "max_window_bytes",
}
"""Option -> limit that concerns only how an archive is read. The others bound what files of this project hold."""
_NUMBER = re.compile(r"([1-9][0-9]{0,17})(k|M|G)?")
_UNITS = {None: 1, "k": KIB, "M": MIB, "G": GIB}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts. The defaults fit every image Docker itself can store; tests use smaller ones."""

    max_config_bytes: int = 4 * MIB
    max_manifest_bytes: int = 4 * MIB
    max_layers: int = 127
    """Docker's own bound (overlay2 takes no more)."""
    max_archive_images: int = 1000
    max_archive_members: int = 20_000
    """Members of a docker-save or OCI archive: three per layer and image in the most talkative form."""
    max_image_bytes: int = 64 * GIB
    """Uncompressed layers of one image together."""
    max_layer_files: int = 1_000_000
    """Members of one layer's tar; an index of so many needs about 350 MB of memory."""
    max_path_bytes: int = 4096
    max_pax_bytes: int = MIB
    """One pax extended header; real ones stay under 10 KiB."""
    max_index_bytes: int = 256 * MIB
    """A file index, unpacked, without the structure in it."""
    max_structure_bytes: int = 2 * GIB
    """Structure in a file index, unpacked; never unpacked at once. A million pax members have 1.8 GB."""
    max_signature_bytes: int = 16 * MIB
    max_window_bytes: int = 128 * MIB
    """Memory that unpacking may take: the window of a zstd frame, the dictionary of an xz block."""


DEFAULT_LIMITS = Limits()


def over_limit(found: str, option: str, limits: Limits) -> LimitExceeded:
    """Return the error for something over a limit that a person can raise; ``option`` is a key of ``RAISABLE``."""
    most = getattr(limits, RAISABLE[option])
    return LimitExceeded(f"{found}; the limit {option} is {most}")


def raised_limits(options: str | tuple[str, ...], limits: Limits = DEFAULT_LIMITS) -> Limits:
    """Return limits changed by ``NAME=NUMBER``, several with spaces or commas between; k, M and G are powers of 1024.

    Raises:
        RequestError: A name or number is none; the message lists the names.
    """
    words = options.replace(",", " ").split() if isinstance(options, str) else options
    changes: dict[str, int] = {}
    for word in words:
        name, _, text = word.partition("=")
        number = _NUMBER.fullmatch(text)
        if name not in RAISABLE or number is None:
            raise RequestError(f"limit {word[:60]!r} is not NAME=NUMBER with a name of {', '.join(sorted(RAISABLE))}")
        changes[RAISABLE[name]] = int(number[1]) * _UNITS[number[2]]
    return replace(limits, **changes)
