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
_CUT = len(LEVELS) * len(MEM_LEVELS)
"""Added to the setting of a fold whose blocks are listed behind it."""
_LEAST_SETTING = LEVELS.start * len(MEM_LEVELS)


def write_folds(folds: Sequence[Fold], base_folds: Sequence[BaseFold] | None) -> bytes:
    """Return the list as numbers: how many, then four per fold, and the blocks of those that have some."""
    places = {fold.name: place for place, fold in enumerate(base_folds or ())}
    out = bytearray(leb128.encode(len(folds)))
    place, setting = 0, _USUAL_SETTING
    for fold in folds:
        own = places.get(fold.name, place)
        base = _base(base_folds, own)
        own_setting = fold.level * len(MEM_LEVELS) + fold.mem_level - MEM_LEVELS.start + (_CUT if fold.blocks else 0)
        for value in (own - place, fold.raw - base.raw, fold.plain - base.plain, own_setting - setting):
            out += leb128.encode(leb128.zigzag(value))
        for number in (len(fold.blocks), *fold.blocks) if fold.blocks else ():
            out += leb128.encode(number)
        place, setting = own + 1, own_setting
    return bytes(out)


def read_folds(next_number: Callable[[], int], base_folds: Sequence[BaseFold] | None, size: int) -> list[Fold]:
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
        place += skip
        base = _base(base_folds, place)
        setting += difference
        blocks = _read_blocks(next_number, blocks_left) if setting >= _CUT + _LEAST_SETTING else ()
        blocks_left -= len(blocks)
        level, mem_level = divmod(setting - _CUT if blocks else setting, len(MEM_LEVELS))
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
    if not blocks or 0 in blocks:
        raise ContentError("a fold that says that it has blocks has none, or an empty one")
    return blocks


def _base(base_folds: Sequence[BaseFold] | None, place: int) -> BaseFold:
    return base_folds[place] if base_folds and 0 <= place < len(base_folds) else _NO_BASE
