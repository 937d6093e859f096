"""Calls of functions of other programs, when the order of the linkage table changed."""

from __future__ import annotations

import random

import pytest

from imagedelta.delta.content import BytesReader, Extent, in_blocks
from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.linkage import Slots
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.predict.elf_image import read_elf
from imagedelta.delta.predict.elf_sections import Sections
from imagedelta.delta.predict.kinds import Kind
from tests.unit.delta.predict.linked_programs import AARCH64, X86_64, a_linked_program

NAMES = [f"function{number * 7919 % 400}" for number in range(400)]
MOVED = [*NAMES[:30], "added", *NAMES[30:250], *NAMES[251:]]
CALLED = [name for name in NAMES if name in MOVED]
CODE_KIND = {X86_64: Kind.CODE, AARCH64: Kind.AARCH64}
BLOCK_BYTES = 1024
both_machines = pytest.mark.parametrize("machine", [X86_64, AARCH64])


@both_machines
def test_calls_through_a_table_whose_order_changed_are_predicted(machine):
    old, new = (a_linked_program(machine, names, CALLED, callers=8000) for names in (NAMES, MOVED))
    plain = difference(old, new, 16)

    found = predicted_difference(plain, old, new, 16)

    assert found.cost() * 5 < plain.cost()


@both_machines
def test_a_masked_jump_is_told_by_the_name_of_its_target(machine):
    """Wherever it stands in the table; so is its slot."""
    kinds = CODE_KIND[machine] | Kind.ADDRESSES | Kind.TABLES
    old, new = (masked(a_linked_program(machine, names, CALLED, callers=0), kinds) for names in (NAMES, MOVED))

    for stub_bytes, start in ((16, 0x1000), (8, 0x1000 + 400 * 16)):
        stubs = [
            [file[at : at + stub_bytes] for at in range(start, start + 400 * stub_bytes, stub_bytes)]
            for file in (old, new)
        ]
        assert len(set(stubs[0])) == 400
        assert stubs[1] == [*stubs[0][:30], stubs[1][30], *stubs[0][30:250], *stubs[0][251:]]


@pytest.mark.parametrize("seed", range(40))
@both_machines
def test_damaged_tables_of_names_are_masked_without_an_error(machine, seed):
    """What builds patches reads files of anyone, too."""
    chosen = random.Random(f"{machine} {seed}")
    data = bytearray(a_linked_program(machine, NAMES, CALLED, callers=30))
    for _ in range(20):
        at = chosen.choice(
            (chosen.randrange(16, 176), chosen.randrange(len(data)), len(data) - chosen.randrange(1, 256))
        )
        data[at] = chosen.choice((0, 0xFF, chosen.randrange(256)))

    assert len(masked(bytes(data), CODE_KIND[machine] | Kind.ADDRESSES | Kind.TABLES)) == len(data)


@both_machines
def test_names_in_any_order_are_read_in_that_of_the_file(machine):
    """A block of a large file is megabytes: tensorflow's names took 225 GB of reading."""
    ordered = a_linked_program(machine, NAMES, CALLED, callers=0)
    relocations = next(
        each for each in Sections(BytesReader(ordered).read_at, len(ordered), ordered).all if each[1] == 4
    )
    at, size = relocations[4:6]
    shuffled = bytearray(ordered)
    records = [ordered[place : place + 24] for place in range(at, at + size, 24)]
    random.Random(3).shuffle(records)
    shuffled[at : at + size] = b"".join(records)

    assert blocks_read(bytes(shuffled)) <= len(ordered) // BLOCK_BYTES


def blocks_read(data: bytes) -> int:
    """How many blocks are read to know all names, when two of them are kept."""
    sizes = []

    class Reader(BytesReader):
        def read_at(self, offset, length):
            sizes.append(length)
            return super().read_at(offset, length)

    file = in_blocks(Extent(Reader(data), 0, len(data)), BLOCK_BYTES, 2)
    assert len(Slots(file, data[:4096], read_elf(data[:4096]))._names) == len(NAMES)
    return len(sizes)
