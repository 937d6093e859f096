"""Calls of functions of other programs, when the order of the linkage table changed."""

from __future__ import annotations

import random

import pytest

from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.masking import masked
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.predict.kinds import Kind
from tests.unit.delta.predict.linked_programs import AARCH64, X86_64, a_linked_program

NAMES = [f"function{number * 7919 % 400}" for number in range(400)]
MOVED = [*NAMES[:30], "added", *NAMES[30:250], *NAMES[251:]]
CALLED = [name for name in NAMES if name in MOVED]
CODE_KIND = {X86_64: Kind.CODE, AARCH64: Kind.AARCH64}
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
