"""Go's lists of functions and types: a search finds their records by names."""

from __future__ import annotations

import random

import pytest

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.masking import ProgramMask, masked
from imagedelta.delta.encode.predicting import MASK, predicted_difference
from tests.unit.delta.predict.go_programs import a_go_program, records

SIZES = random.Random(1).choices(range(32, 2000, 32), k=3000)
FUNCTIONS = {f"main.function{number * 7919 % 3000}": size for number, size in enumerate(SIZES)}
ADDED = dict([*list(FUNCTIONS.items())[:800], ("main.added", 96), *list(FUNCTIONS.items())[800:]])
TYPES = sorted(f"*main.Type{number}" for number in range(900))
OLD = a_go_program(FUNCTIONS, TYPES)
NEW = a_go_program(ADDED, sorted([*TYPES, "*main.Type4added"]), types_before=160)


def test_a_record_is_told_by_its_name_wherever_it_stands_and_whatever_moved():
    (old_types, old_functions), (types, functions) = (records(masked(file, MASK)) for file in (OLD, NEW))

    assert functions == old_functions[: 8 * 800] + functions[8 * 800 : 8 * 801] + old_functions[8 * 800 :]
    added = types.index(
        next(types[at : at + 4] for at in range(0, len(types), 4) if types[at : at + 4] not in old_types)
    )
    assert types == old_types[:added] + types[added : added + 4] + old_types[added:]
    assert len({functions[at : at + 8] for at in range(0, len(functions), 8)}) == len(ADDED)


def test_a_range_of_a_program_is_masked_as_the_whole_is():
    whole, mask = masked(NEW, MASK), ProgramMask(Extent(BytesReader(NEW), 0, len(NEW)), MASK)

    for start in range(0, len(NEW), 50_001):
        assert mask.masked(start, min(start + 50_001, len(NEW))) == whole[start : start + 50_001]


def test_records_are_differences_of_their_own_old_ones():
    """As differences of other functions' they cost a third more."""
    grown = {name: size + 32 * (number % 100 == 3) for number, (name, size) in enumerate(ADDED.items())}
    new = a_go_program({"main.first": 64, **grown}, TYPES)
    plain = difference(OLD, new, 16)

    found = predicted_difference(plain, OLD, new, 16)

    assert found.cost() < 0.8 * plain.cost()


@pytest.mark.parametrize("seed", range(60))
def test_damaged_tables_are_masked_without_an_error(seed: int):
    """What builds patches reads files of anyone, too."""
    chosen = random.Random(seed)
    data = bytearray(OLD)
    table = OLD.index(b"\xf1\xff\xff\xff\0\0")
    for _ in range(12):
        at = chosen.choice(
            (table + chosen.randrange(72), len(data) - chosen.randrange(1, 320), chosen.randrange(len(data)))
        )
        data[at] = chosen.choice((0, 0xFF, chosen.randrange(256)))

    assert len(masked(bytes(data), MASK)) == len(data)
