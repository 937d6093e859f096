"""What a patch says, item by item, as the device's own reader hears it."""

from __future__ import annotations

from unittest import mock

from imagedelta.delta.format.items import ItemReader, ReadItem
from tests.images import BuiltImage
from tests.unit.delta.patches import applied


def items_of(patch: bytes, *sources: BuiltImage) -> list[ReadItem]:
    """Apply a patch and return every item that was read, in order."""
    found: list[ReadItem] = []
    read = ItemReader.read

    def recording(self: ItemReader) -> ReadItem:
        found.append(read(self))
        return found[-1]

    with mock.patch.object(ItemReader, "read", recording):
        applied(patch, *sources)
    return found
