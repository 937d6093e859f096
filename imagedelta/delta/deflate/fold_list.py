"""The list of folds as numbers: each fold is predicted by the fold of the base that follows the one used last.

A member that did not change is four zeros; an inserted or removed one costs a skip.

Source: docs/formats/patch.md, the section on folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imagedelta import leb128
from imagedelta.delta.deflate.folds import LEVELS, MAX_BLOCKS, MAX_FOLDS, MEM_LEVELS, BaseFold, Fold
from imagedelta.errors import ContentError, LimitExceeded

_NO_BASE = BaseFold(0, 0, 0)
_USUAL_SETTING = 6 * len(MEM_LEVELS)
"""Level 6, mem_level 8: what zip tools use."""


def write_folds(folds: Sequence[Fold], base_folds: Sequence[BaseFold] | None, *, with_blocks: bool = False) -> bytes:
    """Return the list as numbers: how many, then four per fold.

    Args:
        with_blocks: A fifth says how many blocks are ended by hand, and the bytes of each follow; else there are none.
    """
    places = {fold.name: place for place, fold in enumerate(base_folds or ())}
    out = bytearray(leb128.encode(len(folds)))
    place, setting = 0, _USUAL_SETTING
    for fold in folds:
        own = places.get(fold.name, place)
        base = _base(base_folds, own)
        own_setting = fold.level * len(MEM_LEVELS) + fold.mem_level - MEM_LEVELS.start
        for value in (own - place, fold.raw - base.raw, fold.plain - base.plain, own_setting - setting):
            out += leb128.encode(leb128.zigzag(value))
        if with_blocks:
            for number in (len(fold.blocks), *fold.blocks):
                out += leb128.encode(number)
        place, setting = own + 1, own_setting
    return bytes(out)


def read_folds(
    next_number: Callable[[], int], base_folds: Sequence[BaseFold] | None, size: int, *, with_blocks: bool = False
) -> list[Fold]:
    """Read what ``write_folds`` wrote.

    Args:
        next_number: Gives the numbers of the list, one after the other.
        size: Bytes of the unfolded form.

    Raises:
        LimitExceeded: More folds than ``MAX_FOLDS``, or than bytes, or more blocks than ``MAX_BLOCKS``; nothing was
            allocated for them.
        ContentError: A fold or a block that cannot be, or more bytes in them than there are.
    """
    count = next_number()
    if count > min(MAX_FOLDS, size):
        raise LimitExceeded(f"{count} folds of a file of {size} bytes")
    folds = []
    place, setting, blocks_left = 0, _USUAL_SETTING, MAX_BLOCKS
    for _ in range(count):
        skip, raw, plain, difference = (leb128.unzigzag(next_number()) for _ in range(4))
        blocks = _read_blocks(next_number, blocks_left) if with_blocks else ()
        blocks_left -= len(blocks)
        place += skip
        base = _base(base_folds, place)
        setting += difference
        level, mem_level = divmod(setting, len(MEM_LEVELS))
        fold = Fold(base.raw + raw, base.plain + plain, level, MEM_LEVELS.start + mem_level, blocks)
        size -= fold.raw + fold.plain
        if fold.raw < 0 or fold.plain < 1 or fold.level not in LEVELS or sum(blocks) > fold.plain or size < 0:
            raise ContentError("a fold that cannot be, or folds of more bytes than the file has")
        folds.append(fold)
        place += 1
    return folds


def _read_blocks(next_number: Callable[[], int], most: int) -> tuple[int, ...]:
    count = next_number()
    if count > most:
        raise LimitExceeded(f"more than {MAX_BLOCKS} blocks of a file are ended by hand")
    blocks = tuple(next_number() for _ in range(count))
    if 0 in blocks:
        raise ContentError("a block without bytes")
    return blocks


def _base(base_folds: Sequence[BaseFold] | None, place: int) -> BaseFold:
    return base_folds[place] if base_folds and 0 <= place < len(base_folds) else _NO_BASE
