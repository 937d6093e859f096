"""Every bound on bytes from outside, in one place.

A reader checks a declared size against these before it allocates or reads; a writer keeps to them, so that
what one part writes every other part accepts. Sizes are bytes unless the name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader accepts. The defaults fit every image Docker itself can hold; tests use smaller ones."""

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
    """A file index, unpacked, without the structure it holds."""
    max_structure_bytes: int = 2 * GIB
    """Structure in a file index, unpacked; never unpacked at once. A million pax members have 1.8 GB."""
    max_signature_bytes: int = 16 * MIB
    max_expansion_ratio: int = 200
    """Unpacked bytes per packed byte, past ``expansion_allowance`` (gzip's own ceiling is 1032)."""
    expansion_allowance: int = 256 * MIB
    """Unpacked bytes that are free of the ratio: an empty preallocated database compresses very well."""
    max_zstd_window_bytes: int = 64 * MIB
    """Memory that one zstd frame may ask for; image builders use at most 8 MiB."""


DEFAULT_LIMITS = Limits()
