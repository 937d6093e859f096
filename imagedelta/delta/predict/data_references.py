"""References in the data of programs, whatever their machine: addresses, and distances to code.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagedelta.delta.predict.data_numbers import LONG_BYTES, WORD_BYTES, Numbers, quick_addresses, quick_distances
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.site import Run, ahead_of
from imagedelta.delta.predict.steps import Steps

_LEAST_ADDRESS = 0x200
"""Smaller numbers in data are counts."""


class DataReferences:
    """The references in the data of one file."""

    def __init__(self, old: Image, moves: Steps, *, is_elf: bool) -> None:
        self._old, self._moves, self._is_elf = old, moves, is_elf
        self._low, self._high = max(_LEAST_ADDRESS + 1, old.lowest), old.end

    def addresses(self, data: bytes, out: bytearray, start: int) -> list[int]:
        """Predict the aligned numbers of 64 bits that are addresses.

        Args:
            data: The old bytes of a part.
            out: The same bytes; addresses are overwritten.
            start: Where the part begins in the old file.

        Returns:
            Where the addresses are in the part.
        """
        longs = Numbers(LONG_BYTES, self._low, self._high)
        return quick_addresses(data, out, -start % LONG_BYTES, longs, *self._moves)

    def jumps(self, data: bytes, out: bytearray, start: int, run: Run, longs: Sequence[int]) -> list[int]:
        """Predict the aligned numbers of 32 bits that are distances to code (ELF), or addresses (PE).

        Args:
            run: Of data, which the part is of.
            longs: Where in the part addresses of 64 bits are: none of their bytes are looked at.
        """
        skip, before = -start % WORD_BYTES, bytes(out)
        if self._is_elf:
            site = start + ahead_of(run), run.difference
            places = quick_distances(data, out, skip, site, self._old.code, self._moves)
        else:
            places = quick_addresses(data, out, skip, Numbers(WORD_BYTES, self._low, self._high), *self._moves)
        if not longs:
            return places
        for at in longs:
            out[at : at + LONG_BYTES] = before[at : at + LONG_BYTES]
        taken = {*longs, *[at + WORD_BYTES for at in longs]}
        return [at for at in places if at not in taken]
