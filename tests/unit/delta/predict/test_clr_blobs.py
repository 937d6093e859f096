"""References inside blobs: packed numbers in signatures and in the names of documents."""

from __future__ import annotations

import struct

import pytest

from imagedelta.delta.predict.clr_blobs import packed_references, repack
from imagedelta.delta.predict.clr_metadata import Metadata, read_metadata
from tests.unit.delta.predict.assemblies import root, tables_stream

CASES = {
    "a field of a class": (4, "06 12 80 81", [(2, 2, 0x81)]),
    "a method of two types": (6, "20 02 11 05 12 c0 00 40 00 0e", [(3, 1, 5), (5, 4, 0x4000)]),
    "a generic method": (6, "30 01 01 1e 00 12 09", [(6, 1, 9)]),
    "locals, pinned and by reference": (17, "07 03 45 10 11 05 13 80 92 1d 12 08", [(5, 1, 5), (11, 1, 8)]),
    "an instance of a generic type": (43, "0a 01 15 12 05 01 11 09", [(4, 1, 5), (7, 1, 9)]),
    "a type with a modifier": (27, "1f 05 12 09", [(1, 1, 5), (3, 1, 9)]),
    "a function that is a parameter": (10, "00 01 01 1b 00 01 01 12 09", [(8, 1, 9)]),
    "what follows an array": (6, "00 02 12 05 14 08 02 01 12 12 09", [(3, 1, 5)]),
    "a signature that breaks off": (6, "20 02 11 05 12", [(3, 1, 5)]),
    "the name of a document": (48, "2f 05 80 91 00", [(1, 1, 5), (2, 2, 0x91), (4, 1, 0)]),
}
ROWS = {
    4: "<HHH", 6: "<IHHHHH", 10: "<HHH", 17: "<H", 27: "<H", 43: "<HH", 48: "<HHHH",
}  # fmt: skip


def metadata_of(table: int, blobs: list[bytes]) -> Metadata:
    heap, rows = bytearray(b"\0"), []
    for blob in blobs:
        fields = [0] * (len(ROWS[table]) - 1)
        fields[{4: 2, 6: 4, 10: 2, 17: 0, 27: 0, 43: 1, 48: 0}[table]] = len(heap)
        rows.append(struct.pack(ROWS[table], *fields))
        heap += bytes([len(blob)]) + blob
    found = read_metadata(root({"#~": tables_stream({table: rows}), "#Blob": bytes(heap)}), 0)
    assert found is not None
    return found


@pytest.mark.parametrize("case", CASES)
def test_references_are_found_where_they_are(case: str) -> None:
    table, text, expected = CASES[case]
    metadata = metadata_of(table, [bytes.fromhex(text)])

    found = [(at - metadata.blobs.start - 2, width, value) for at, width, _, value in packed_references(metadata)]

    assert found == expected


def test_a_blob_that_begins_within_another_is_left_out() -> None:
    inner = bytes.fromhex("04 06 12 81 01")
    metadata = metadata_of(4, [b"\x06\x12\x05" + inner])
    table = metadata.tables[4]
    data = bytearray(metadata.data)
    data[table.start : table.start + 6] = struct.pack("<HHH", 0, 0, 1)
    shared = read_metadata(bytes(data), 0)
    assert shared is not None

    places = [place for place, _, _, _ in packed_references(shared)]

    assert len(places) == len(set(places))


@pytest.mark.parametrize(("value", "width"), [(0, 1), (127, 1), (5, 2), (0x3FFF, 2), (5, 4), (0x1FFFFFFF, 4)])
def test_a_number_is_packed_as_it_was_read(value: int, width: int) -> None:
    packed = repack(value, width)
    assert packed is not None
    metadata = metadata_of(27, [b"\x12" + packed])

    assert [found[1::2] for found in packed_references(metadata)] == [(width, value)]


@pytest.mark.parametrize(("value", "width"), [(-1, 1), (128, 1), (0x4000, 2), (0x20000000, 4)])
def test_a_number_that_needs_more_bytes_is_not_packed(value: int, width: int) -> None:
    assert repack(value, width) is None
