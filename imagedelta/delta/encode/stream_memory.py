"""Dividing the memory that the decoders of a patch may take together among its streams.

Dictionaries come first, the smallest stream's first. Then the tables of the native coder take what is left, and the
dictionaries of the streams that they are for, step by step: first what saves most for its memory.

Source: docs/adr/0039.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagedelta.delta.format import mixing
from imagedelta.delta.format.coders import (
    BROTLI,
    LZMA2,
    MIN_DICTIONARY,
    MIXED_BYTES,
    MIXED_PROGRAMS,
    PROGRAMS,
    PROGRAMS_BYTES,
    Params,
    coder,
)
from imagedelta.delta.format.profiles import Profile
from imagedelta.delta.format.roles import Role
from imagedelta.limits import KIB

_OVERHEAD = max(coder(number).memory(Params()) for number in (LZMA2, BROTLI))
"""What any decoder takes beside its dictionary."""
_PROGRAMS = coder(PROGRAMS).memory(Params()) - _OVERHEAD
"""What the coder of programs takes beyond that."""
_PROGRAM_ROLES = (Role.CODE, Role.LITERAL)
"""The first that a patch has is where new programs are."""
_HARDLY_ANY = 8 * KIB
"""Where dictionaries lack memory, streams of up to so many bytes go without Brotli, which saves some bytes of them and
takes more memory than they."""
_SPARED = _OVERHEAD - coder(LZMA2).memory(Params())
_SAVED_BY_MIXING, _SAVED_BY_DOUBLING = 0.03, 0.005
"""What the smallest tables save of a stream's raw bytes, about, and what each doubling of them does."""
_WEIGHT_OF_DIFFERENCES = 2
"""A changed byte gains as much by tables as so many new ones."""


@dataclass(frozen=True, slots=True)
class Division:
    """What each stream may take."""

    shares: Mapping[Role, int]
    """Bytes beside the overhead of its decoder."""
    sizes: Mapping[Role, int]
    mixed: frozenset[Role]
    programs: Role | None
    """The stream that the coder of programs may code; what that takes is in its share."""
    sparing: frozenset[Role]
    """Those that go without Brotli."""

    def dictionary(self, role: Role) -> int:
        """Return the bytes of a stream's dictionary."""
        room = self.shares[role] - (_PROGRAMS if role is self.programs else 0)
        return max(MIN_DICTIONARY, min(self.sizes[role], room))

    def bits(self, role: Role) -> int:
        """Return the size of a stream's tables; 0 where the native coder does not code it."""
        if role not in self.mixed:
            return 0
        others = PROGRAMS_BYTES if role is self.programs else 0
        return min(_enough(role, self.sizes[role]), mixing.bits_within(self.shares[role] + _OVERHEAD - others))


@dataclass(frozen=True, slots=True)
class _Step:
    """From a dictionary to the smallest tables, or from tables to twice as large ones."""

    role: Role
    bits: int
    cost: int
    """Bytes of memory."""
    saved: float
    """Bytes of the patch, about."""


def divide(sizes: Mapping[Role, int], budget: int, profile: Profile, most_mixed: int) -> Division:
    """Return what each stream of these sizes may take.

    Args:
        budget: Bytes that all decoders together may take.
        most_mixed: Bytes of a stream that the native coder may code at most.
    """
    most = min(most_mixed, profile.mixed_bytes)
    mixed = frozenset(role for role, size in sizes.items() if role in profile.mixed_roles and size <= most)
    return _divided(sizes, budget, profile, mixed)


def bits_of_differences(
    sizes: Mapping[Role, int], changed_bytes: int, budget: int, profile: Profile, most_mixed: int
) -> int:
    """Return the size of the tables for differences that are coded beside old bytes; 0 where there is no room.

    Args:
        sizes: Of the streams beside them.
        changed_bytes: Differences that are not zero.
        budget: See ``divide``.
        most_mixed: See ``divide``.
    """
    others = divide(sizes, budget, profile, most_mixed).mixed
    weighed = {**sizes, Role.DIFF: _WEIGHT_OF_DIFFERENCES * changed_bytes}
    return _divided(weighed, budget, profile, others | {Role.DIFF}).bits(Role.DIFF)


def _divided(sizes: Mapping[Role, int], budget: int, profile: Profile, mixed: frozenset[Role]) -> Division:
    programs = next((role for role in _PROGRAM_ROLES if role in sizes), None) if profile.second_format else None
    ordered = sorted(sizes.items(), key=lambda item: (item[1], item[0]))
    shares = _shares(ordered, budget, profile, mixed, programs)
    sparing: frozenset[Role] = frozenset()
    if profile.second_format and any(shares[role] < min(size, profile.max_dictionary_bytes) for role, size in ordered):
        sparing = frozenset(role for role, size in ordered if size <= _HARDLY_ANY)
        shares = _shares(ordered, budget + _SPARED * len(sparing), profile, mixed, programs)
    return Division(shares, sizes, mixed, programs, sparing)


def _shares(
    ordered: Sequence[tuple[Role, int]], budget: int, profile: Profile, mixed: frozenset[Role], programs: Role | None
) -> dict[Role, int]:
    left = budget - len(ordered) * _OVERHEAD - (_PROGRAMS if programs else 0)
    shares = {}
    for place, (role, size) in enumerate(ordered):
        fair = left // (len(ordered) - place)
        shares[role] = max(MIN_DICTIONARY, min(size, fair, profile.max_dictionary_bytes))
        left -= shares[role]
    if programs:
        shares[programs] += _PROGRAMS
    tables = _tables({role: size for role, size in ordered if role in mixed}, shares, left, programs)
    return shares | {role: _table_share(bits, role is programs) for role, bits in tables.items()}


def _tables(
    sizes: Mapping[Role, int], shares: Mapping[Role, int], left: int, programs: Role | None
) -> Mapping[Role, int]:
    """Return the size of the tables of each stream that has room for any.

    Args:
        shares: What they have without.
        left: Bytes that are nobody's.
    """
    held, bits = dict(shares), dict.fromkeys(sizes, 0)
    while True:
        steps = (_step(role, sizes[role], bits[role], held[role], programs) for role in sizes)
        fitting = [step for step in steps if step and step.cost <= left]
        if not fitting:
            return {role: number for role, number in bits.items() if number}
        best = max(fitting, key=lambda step: (step.saved / max(1, step.cost), step.role))
        left -= best.cost
        held[best.role] += best.cost
        bits[best.role] = best.bits


def _step(role: Role, size: int, bits: int, held: int, programs: Role | None) -> _Step | None:
    """Return the next step of a stream; None where it has all that serves it."""
    following = bits + 1 if bits else mixing.LEAST_BITS
    if following > _enough(role, size):
        return None
    saved = size * (_SAVED_BY_DOUBLING if bits else _SAVED_BY_MIXING)
    return _Step(role, following, _table_share(following, role is programs) - held, saved)


def _table_share(bits: int, has_programs: bool) -> int:
    return coder(MIXED_PROGRAMS if has_programs else MIXED_BYTES).memory(Params(bits=bits)) - _OVERHEAD


def _enough(role: Role, size: int) -> int:
    """Return the size of tables beyond which a stream gains nothing; differences use some for the zeros around them."""
    wanted = mixing.MOST_BITS if role is Role.DIFF else (2 * size).bit_length()
    return min(mixing.MOST_BITS, max(mixing.LEAST_BITS, wanted))
