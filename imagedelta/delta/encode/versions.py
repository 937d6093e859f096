"""Two versions of a file, read as .NET files once, whatever ways to predict their references are tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from imagedelta.delta.predict import clr
from imagedelta.delta.predict.clr_blobs import Packed


class RememberingClrFile(clr.ClrFile):
    """An assembly whose references in blobs are found once. A device has no memory for them, and no use."""

    def packed(self) -> Iterator[Packed]:
        """See ``ClrFile``."""
        return iter(self._packed)

    @cached_property
    def _packed(self) -> list[Packed]:
        return list(super().packed())


@dataclass(frozen=True)
class Versions:
    """The old bytes of a file and the new ones."""

    old: bytes
    new: bytes

    @cached_property
    def old_clr(self) -> clr.ClrFile | None:
        """The old version as an assembly or portable PDB; None where it is neither."""
        return _read(self.old)

    @cached_property
    def new_clr(self) -> clr.ClrFile | None:
        """The new version as one."""
        return _read(self.new)


def _read(data: bytes) -> clr.ClrFile | None:
    file = clr.read_clr(data)
    return RememberingClrFile(file.metadata, file.image) if file else None
