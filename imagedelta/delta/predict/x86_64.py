"""References in x86-64 programs: calls, jumps and RIP-relative operands, addresses and numbers.

Source: docs/formats/patch.md, section 7a.
"""

from __future__ import annotations

from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.site import Sites
from imagedelta.delta.predict.steps import Steps
from imagedelta.delta.predict.x86_opcodes import Sought
from imagedelta.delta.predict.x86_operands import quick_x86_64


class X8664:
    """The references of the code of one file."""

    ALIGNED = 1
    """Instructions begin at multiples of so many bytes."""

    def __init__(self, moves: Steps, kinds: Kind, *, is_fixed: bool) -> None:
        self._moves = moves
        self._sought = Sought.RELATIVE
        if kinds & Kind.IMMEDIATES:
            self._sought = Sought.ADDRESSES if is_fixed else Sought.NUMBERS

    def code(self, data: bytes, out: bytearray, sites: Sites) -> list[int]:
        """Predict the operands in stretches of code.

        Args:
            data: Old bytes.
            out: The same bytes; operands are overwritten.

        Returns:
            Where the operands are.
        """
        return quick_x86_64(data, out, self._sought, sites.numbers, *self._moves)
