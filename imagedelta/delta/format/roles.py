"""What is in each stream of a patch. Bytes of one kind lie together, because like compresses with like.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

from enum import IntEnum


class Role(IntEnum):
    """Number of a stream in the stream table; each occurs at most once."""

    CONFIG = 1
    """The image's config JSON, each digest of a layer as two bytes."""
    ITEMS = 2
    """One byte per item."""
    REFERENCES = 3
    BASES = 4
    LENGTHS = 5
    OFFSETS = 6
    STAMPS = 7
    """Times in the heads of .pyc files."""
    ODD = 8
    """Tar bytes outside file data that fit no columns."""
    DIFF_LENGTHS = 9
    EXTRA_LENGTHS = 10
    SEEKS = 11
    DIFF = 12
    """New minus old, byte by byte, where they match; long runs of zeros are cut short."""
    EXTRA = 13
    """Bytes of changed files that match nothing."""
    LITERAL = 14
    CODE = 15
    """Literal machine code."""
    TEXT = 16
    """Literal text."""
    OLD_TEXT = 17
    """Text, coded against the text it was made from."""
    DICTIONARIES = 18
    """Which members are that text, frame by frame."""
    FOLDS = 19
    """How to deflate again what was inflated."""
    ZEROS = 20
    """How many zeros were cut from each long run in DIFF."""

    PREDICTIONS = 21
    """Which references of each delta are predicted."""
    DIGESTS = 22
    """Which files' digests are listed in which."""

    MASKS = 32
    """From here on: the columns of tar headers, in the order of header_columns.Column."""
    NAME_PREFIXES = 33
    NAME_SUFFIXES = 34
    NAMES = 35
    MODES = 36
    OWNERS = 37
    SIZES = 38
    TIMES = 39
    TYPES = 40
    LINKS = 41
    OTHERS = 42


NUMBER_ROLES = frozenset(
    {
        Role.ITEMS,
        Role.REFERENCES,
        Role.BASES,
        Role.LENGTHS,
        Role.OFFSETS,
        Role.STAMPS,
        Role.DIFF_LENGTHS,
        Role.EXTRA_LENGTHS,
        Role.SEEKS,
        Role.DICTIONARIES,
        Role.FOLDS,
        Role.ZEROS,
        Role.PREDICTIONS,
        Role.DIGESTS,
    }
)
COLUMN_ROLES = frozenset(role for role in Role if role >= Role.MASKS)
DICTIONARY_ROLES = frozenset({Role.CONFIG, Role.OLD_TEXT})
"""Streams that may be coded against old text."""
