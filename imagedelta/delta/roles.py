"""What each stream of a patch holds. Bytes of one kind lie together, because like compresses with like.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """Number of a stream in the stream table; each occurs at most once."""

    CONFIG = 1
    """The image's config JSON, each digest of a layer as two bytes."""
    KINDS = 2
    """One byte per step."""
    STRUCTURE_LENGTHS = 3
    LENGTHS = 4
    SOURCES = 5
    OFFSETS = 6
    STRUCTURE = 7
    """Tar bytes outside file data."""
    DIFF_LENGTHS = 8
    EXTRA_LENGTHS = 9
    SEEKS = 10
    DIFF = 11
    """New minus old, byte by byte, where they match."""
    EXTRA = 12
    """Bytes of changed files that match nothing."""
    LITERAL = 13
    CODE = 14
    """Literal machine code."""
    TEXT = 15
    """Literal text."""


STEP_ROLES = (Role.KINDS, Role.STRUCTURE_LENGTHS, Role.LENGTHS, Role.SOURCES, Role.OFFSETS)
CONTROL_ROLES = (Role.DIFF_LENGTHS, Role.EXTRA_LENGTHS, Role.SEEKS)
LITERAL_ROLES = (Role.LITERAL, Role.CODE, Role.TEXT)
