"""Named profiles of a patch: which format a device must read, with how much memory.

A profile's name goes into the head of the patch and is what a device's inventory says it can read. A new
coder or another memory class is a new name: the bytes that a name stands for never change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagedelta.delta.format.roles import Role
from imagedelta.errors import RequestError
from imagedelta.limits import MIB


@dataclass(frozen=True, slots=True)
class Profile:
    """What a build may use."""

    name: str
    decoder_bytes: int
    """All decoders of a patch together, on the device."""
    max_dictionary_bytes: int
    """One dictionary; the encoder takes 11 times as much."""
    old_text_bytes: int
    """Old and new text of one frame together, the size of the dictionary."""
    min_match_bytes: int = 16
    """Shorter matches of a delta cost more in controls than they save."""
    whole_file_bytes: int = 40 * MIB
    """Larger files are cut into windows."""
    window_bytes: int = 24 * MIB
    """Of the new file."""
    window_reach_bytes: int = 6 * MIB
    """How far beyond a window's place in the old file its delta may look, on either side."""
    unfolded_bytes: int = 256 * MIB
    """Largest unfolded form of a file: scratch on the device's disk."""
    folds: bool = True
    """Whether deflate streams may be undone, which a device with another zlib could not make again."""
    mixed_roles: frozenset[Role] = frozenset()
    """Streams that the native coder may code."""
    mixed_bytes: int = 0
    """The longest of them that it does."""

    @property
    def mixes(self) -> bool:
        """Whether the native coder is wanted, to build as to read."""
        return bool(self.mixed_roles)

    @property
    def predicting_bytes(self) -> int:
        """What predictions take of the decoders' memory, where there are any."""
        return predicting_bytes(self.name)

    @property
    def is_small(self) -> bool:
        """Whether predictions are held to a quarter of what others may take."""
        return self.name.startswith(SMALL_CLASS)

    @property
    def second_format(self) -> bool:
        """Whether references to what moved are predicted, and folds say where blocks end."""
        return self.name.startswith(SECOND_FORMAT)


SECOND_FORMAT = "v2-"
"""How the names of profiles begin in whose patches references are predicted (docs/formats/patch.md, section 7a)."""
SMALL_CLASS = f"{SECOND_FORMAT}16m"
"""How those of them begin whose predictions are held to a quarter of what others may take."""
_PREDICTING_BYTES, _FEW_PREDICTING_BYTES = 16 * MIB, 4 * MIB
"""Beyond what is set aside for the process: the largest base is in memory twice."""

V1_64M = Profile(name="v1-64m", decoder_bytes=64 * MIB, max_dictionary_bytes=32 * MIB, old_text_bytes=16 * MIB)
V1_16M = Profile(name="v1-16m", decoder_bytes=16 * MIB, max_dictionary_bytes=8 * MIB, old_text_bytes=4 * MIB)
V2_64M = replace(V1_64M, name="v2-64m")
V2_16M = replace(V1_16M, name="v2-16m")
DEFAULT_PROFILE = V2_64M
_FOLDING = (V2_64M, V1_64M, V2_16M, V1_16M)
_NOT_FOLDING = tuple(replace(profile, name=f"{profile.name}-nofold", folds=False) for profile in _FOLDING)
MIXED, THIN = "-cm", "-cm-thin"
"""How the names of profiles with the native coder end: what is changed is coded by it, with the new bytes inside of
that as far as decoding them takes seconds; for links that are slower than its decoder all new bytes are."""
_EXTRA = frozenset({Role.EXTRA})
_MIXING = (
    replace(V2_64M, name=f"{V2_64M.name}{MIXED}", mixed_roles=_EXTRA, mixed_bytes=4 * MIB),
    replace(
        V2_64M,
        name=f"{V2_64M.name}{THIN}",
        mixed_roles=_EXTRA | {Role.LITERAL, Role.CODE, Role.TEXT},
        mixed_bytes=1 << 40,
    ),
)
PROFILES = {profile.name: profile for profile in (*_FOLDING, *_NOT_FOLDING, *_MIXING)}
"""In the order in which a cloud tries them after its default (those of its format first): with folds, then by memory.
Those with the native coder it tries by themselves."""


def predicting_bytes(name: str) -> int:
    """Return what predictions take in patches of the profile of this name, where there are any."""
    return _FEW_PREDICTING_BYTES if name.startswith(SMALL_CLASS) else _PREDICTING_BYTES


def profile_named(name: str) -> Profile:
    """Return a profile by its name.

    Raises:
        RequestError: "request.invalid": there is none of that name.
    """
    if name not in PROFILES:
        raise RequestError(f"no patch profile {name!r}; there are {', '.join(sorted(PROFILES))}")
    return PROFILES[name]
