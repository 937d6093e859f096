"""References in x86-64 programs: calls, jumps and RIP-relative operands, addresses and numbers.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.site import Run, site_of
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.x86_opcodes import Sought
from imagedelta.delta.predict.x86_operands import quick_operands


class X8664:
    """The references of the code of one file."""

    def __init__(self, moves: Steps, kinds: Kind, *, is_fixed: bool) -> None:
        self._moves = moves
        self._sought = Sought.RELATIVE
        if kinds & Kind.IMMEDIATES:
            self._sought = Sought.ADDRESSES if is_fixed else Sought.NUMBERS

    def code(self, data: bytes, out: bytearray, start: int, run: Run) -> list[int]:
        """Predict the operands in a part of a run of code.

        Args:
            data: The old bytes of the part.
            out: The same bytes; operands are overwritten.
            start: Where the part begins in the old file.

        Returns:
            Where the operands are in the part.
        """
        return quick_operands(data, out, self._sought, site_of(start, run), *self._moves)
