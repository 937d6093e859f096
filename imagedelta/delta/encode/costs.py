"""What each file and layer of a patch costs, so that people see where their bytes go.

A file's share is its own streams packed by themselves. Files help each other in the solid streams of a patch, so
the shares add up to more than the patch; they say what is dear, not what is paid.
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagedelta.delta.content import ImageContent, LayerContent
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.encode.chunks import changed_file
from imagedelta.delta.encode.methods import Encoding, pieces_of
from imagedelta.delta.encode.plan import Choice, FilePlan, PatchPlan, plan_patch
from imagedelta.delta.format.profiles import DEFAULT_PROFILE
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB

_PRESET = 6
_DICTIONARY = 16 * MIB


@dataclass(frozen=True, slots=True)
class FileCost:
    """One file of a rebuilt layer."""

    layer: int
    """Position in the target, 0 the lowest."""
    path: bytes
    size: int
    choice: Choice
    cost: int
    """Bytes, about; 0 for files that are in a source."""
    base_path: bytes | None


def file_costs(
    target: ImageContent,
    sources: Sequence[ImageContent],
    scratch: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[FileCost]:
    """Return every file with data in the layers that a patch would rebuild, in their order.

    Args:
        scratch: Folder for unfolded forms.
        progress: Called with (bytes of files looked at, bytes in all).
    """
    plan = plan_patch(target, sources)
    encoding = Encoding(DEFAULT_PROFILE, scratch, much_is_new=False)
    positions = {diff_id: position for position, diff_id in reversed(list(enumerate(target.diff_ids)))}
    found = []
    done, total = 0, sum(file.entry.size for _, file in plan.diffed())
    for layer, file in _files(plan):
        cost = _cost(plan, layer, file, encoding) if file.is_diffed else 0
        done += file.entry.size if file.is_diffed else 0
        progress(done, total)
        base = file.base.entry.path if file.base else None
        position = positions[layer.index.diff_id]
        found.append(FileCost(position, file.entry.path, file.entry.size, file.choice or Choice.NEW, cost, base))
    return found


def _files(plan: PatchPlan) -> Iterator[tuple[LayerContent, FilePlan]]:
    for layer in plan.rebuilt:
        yield from ((layer.layer, file) for file in layer.files if file.choice)


def _cost(plan: PatchPlan, layer: LayerContent, file: FilePlan, encoding: Encoding) -> int:
    total = 0
    for piece in pieces_of(changed_file(plan, layer, file, encoding)):
        for role, data in piece.streams.items():
            if role is Role.OLD_TEXT and file.base:
                total += len(dictionary_lzma.compress(file.base.data.whole(), data, _DICTIONARY))
            else:
                total += _packed(data)
    return total


def _packed(data: bytes) -> int:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": _PRESET}]
    return min(len(data), len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters)))
