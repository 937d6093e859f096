"""References of .NET files: found where they are, and predicted from what moved."""

from __future__ import annotations

import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.matches import matches
from imagedelta.delta.encode.predicting import predicted_difference
from imagedelta.delta.predict import clr as clr_module
from imagedelta.delta.predict.clr import ClrFile, corrections, predicted, read_clr, starts
from imagedelta.delta.predict.clr_mask import masked
from imagedelta.delta.predict.clr_metadata import read_metadata
from imagedelta.delta.predict.image import Image
from imagedelta.delta.predict.kinds import Kind
from imagedelta.delta.predict.pe_image import read_pe
from imagedelta.delta.predict.shifts import Shifts, Stretch
from tests.unit.delta.predict import assemblies
from tests.unit.delta.predict.assemblies import Source, assembly, call, fat, pdb, tiny

MEMBER_REF, METHOD, USER_STRING = 0x0A000000, 0x06000000, 0x70000000
BODIES = [
    ("First", tiny(b"\x00" + call(MEMBER_REF | 1) + b"\x2a")),
    ("Second", fat(b"\x72" + struct.pack("<I", USER_STRING | 1) + call(METHOD | 1) + b"\x2a" + b"\x17" * 40)),
    ("Third", fat(call(METHOD | 2) + call(MEMBER_REF | 2) + b"\x16" * 30 + b"\x2a")),
]


def clr(data: bytes) -> ClrFile:
    read = read_clr(data)
    assert read is not None
    return read


def predictions(old: bytes, new: bytes) -> tuple[int, int]:
    """How many bytes in matches differ from the new file as they were, and as predicted.

    As a builder does, with the starts of heaps and tables corrected or not, as it serves better.
    """
    shifts = Shifts(Stretch(*match) for match in matches_of(old, new))
    exact = corrections(clr(old).metadata, clr(new).metadata, shifts)
    return min((counted(old, new, corrected) for corrected in (exact, [])), key=lambda counts: counts[1])


def counted(old: bytes, new: bytes, corrected: list[int]) -> tuple[int, int]:
    found = [Stretch(*match) for match in matches_of(old, new)]
    becomes = predicted(clr(old), Shifts(found), read_pe(new) or Image(()), corrected)
    assert len(becomes) == len(old)
    differ = wrong = 0
    for stretch in found:
        there = new[stretch.new : stretch.new + stretch.length]
        for data in (old, becomes):
            here = data[stretch.old : stretch.old + stretch.length]
            unequal = sum(one != other for one, other in zip(here, there, strict=True))
            differ, wrong = (differ + unequal, wrong) if data is old else (differ, wrong + unequal)
    return differ, wrong


def matches_of(old: bytes, new: bytes) -> list[tuple[int, int, int]]:
    found = matches(masked(clr(old)), masked(clr(new)))
    return [(match.old, match.new, match.length) for match in found]


CHANGES = {
    "a method before the others": Source([("Zeroth", tiny(b"\x00\x2a")), *BODIES]),
    "a name before the others": Source(BODIES, strings_first=["SomethingThatIsNew"]),
    "a member before the others": Source(BODIES, members=["Flush", "Write", "Read"]),
    "a string before the others": Source(BODIES, user_strings=["what was put in", "hello"]),
    "a longer body": Source([(BODIES[0][0], fat(b"\x00" * 50 + b"\x2a")), *BODIES[1:]]),
}


@pytest.mark.parametrize("size", range(9))
def test_a_file_that_ends_inside_the_head_of_its_tables_is_no_net_file(size: int) -> None:
    assert read_clr(assemblies.root({"#Strings": b"\0abc", "#~": bytes(size)})) is None


def test_nothing_changes_where_nothing_moved() -> None:
    data = assembly(Source(BODIES))
    whole = Shifts([Stretch(0, 0, len(data))])

    assert predicted(clr(data), whole, read_pe(data) or Image(()), [0] * 8) == data


def test_rows_names_strings_and_bodies_that_moved_are_followed() -> None:
    """Of the programs that call by number, the numbers follow what was put in."""
    bodies = [
        (f"Method{n}", fat(call(MEMBER_REF | 1 + n % 50) + call(METHOD | 1 + n) + b"\x17" * (n % 7))) for n in range(90)
    ]
    members = [f"Member{n}" for n in range(50)]
    old = assembly(Source(bodies, members))
    moved_bodies = [
        (name, fat(call(MEMBER_REF | 2 + n % 50) + call(METHOD | 2 + n) + b"\x17" * (n % 7)))
        for n, (name, _) in enumerate(bodies)
    ]
    new = assembly(Source([("Added", tiny(b"\x2a")), *moved_bodies], ["Put in", *members], ["More"]))

    differ, wrong = predictions(old, new)

    assert differ > 300
    assert wrong * 20 < differ


@pytest.mark.parametrize("change", CHANGES)
def test_references_of_a_small_assembly_get_better_and_not_worse(change: str) -> None:
    differ, wrong = predictions(assembly(Source(BODIES)), assembly(CHANGES[change]))

    assert wrong <= differ


def test_scopes_of_a_pdb_follow_the_variables_that_were_put_in() -> None:
    names = [f"variable{n}" for n in range(200)]
    old = pdb(200, names)
    new = pdb(200, ["first of all", *names], first_variable=2)

    differ, wrong = predictions(old, new)

    assert differ > 100
    assert wrong <= 8


def test_tokens_are_found_behind_switches_prefixes_and_clauses() -> None:
    switch = b"\x45" + struct.pack("<I", 2) + bytes.fromhex("28000000 28000000")
    clause = struct.pack("<HHBHBI", 0, 0, 4, 4, 4, 0x01000001)
    small = b"\x01" + bytes([4 + 12]) + b"\0\0" + clause
    wide_clause = struct.pack("<IIIIII", 0, 0, 4, 4, 4, 0x01000001)
    wide = struct.pack("<I", (4 + 24) << 8 | 0x41) + wide_clause
    code = b"\x21" + b"\x28" * 8 + switch + b"\xfe\x16" + struct.pack("<I", 0x01000001) + b"\x1f\x28\xfe\x0c\x28\x28"
    data = assembly(Source([("One", fat(code, sections=small)), ("Two", fat(code, 0x11000001, wide))]))

    places = sorted(place for found in clr(data).tokens.values() for place in found)

    first = assemblies.SECTION_OFFSET + 72
    one = [first + 12 + data[first + 12 :].index(b"\xfe\x16") + 2, first + 12 + len(code) + (-len(code) % 4) + 12]
    assert places[:2] == one
    assert len(places) == 5
    assert all(data[at : at + 4] in (b"\1\0\0\1", b"\1\0\0\x11") for at in places)


def test_a_body_that_begins_within_another_is_left_out() -> None:
    """Many methods that share one body would make a device read it as often."""
    nested = tiny(call(MEMBER_REF | 1) + b"\x2a")
    data = bytearray(assembly(Source([("One", fat(nested * 5)), ("Two", nested)])))
    table = clr(bytes(data)).metadata.tables[6]
    address = assemblies.SECTION_ADDRESS + 72 + 12
    struct.pack_into("<I", data, table.start + table.row_bytes, address)

    places = [place for found in clr(bytes(data)).tokens.values() for place in found]

    assert len(places) == len(set(places)) == 5


@pytest.mark.parametrize(
    "data",
    [b"", b"MZ", b"BSJB", b"BSJB" + bytes(40), b"MZ".ljust(60, b"\0") + b"\xff" * 8, b"\x7fELF" + bytes(100)],
    ids=["nothing", "MZ", "BSJB", "zeros", "far header", "ELF"],
)
def test_what_is_no_assembly_has_no_references(data: bytes) -> None:
    assert read_clr(data) is None


@pytest.mark.parametrize("cut", range(0, 900, 7))
def test_a_file_cut_anywhere_is_read_or_is_no_assembly(cut: int) -> None:
    data = assembly(Source(BODIES))[:cut]
    read = read_clr(data)

    assert read is None or len(predicted(read, Shifts([]), Image(()), [])) == cut


def test_a_table_that_states_more_rows_than_the_file_has_makes_no_metadata() -> None:
    data = bytearray(assembly(Source(BODIES)))
    root_at = data.index(b"BSJB")
    counts = root_at + struct.unpack_from("<I", data, root_at + 32)[0] + 24
    struct.pack_into("<I", data, counts + 8, 0x00FFFFFF)

    assert read_metadata(bytes(data), root_at) is None


def test_a_table_of_unknown_columns_makes_no_metadata() -> None:
    data = assemblies.root({"#~": assemblies.tables_stream({45: [b"1234"]})})

    assert read_metadata(data, 0) is None


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=12), st.randoms(use_true_random=False))
def test_any_damage_leaves_a_file_of_the_same_size(damage: list[tuple[int, int]], chance: random.Random) -> None:
    data = bytearray(assembly(Source(BODIES)))
    for at, value in damage:
        data[at % len(data)] = value
    read = read_clr(bytes(data))
    if read is None:
        return
    size = len(data)
    found = [Stretch(chance.randrange(size), chance.randrange(size), chance.randrange(1, 200)) for _ in range(9)]
    corrected = [chance.randrange(-(1 << 40), 1 << 40) for _ in starts(read.metadata)]

    assert len(predicted(read, Shifts(found), read_pe(bytes(data)) or Image(()), corrected)) == size


def test_a_hostile_file_costs_time_in_proportion_to_its_size() -> None:
    """Methods that all name one long body, switches and clauses that reach far: nothing is read twice."""

    def seconds(kib: int) -> float:
        body = fat(call(METHOD | 1) * (kib * 128))
        data = bytearray(assembly(Source([("One", body), *((f"M{n}", tiny(b"\x2a")) for n in range(kib))])))
        table = read_clr(bytes(data)).metadata.tables[6]  # type: ignore[union-attr]
        for row in range(table.rows):
            struct.pack_into("<I", data, table.start + row * table.row_bytes, assemblies.SECTION_ADDRESS + 72 + row)
        begun = time.process_time()
        file = clr(bytes(data))
        predicted(file, Shifts([]), Image(()), [])
        return time.process_time() - begun

    assert seconds(512) < 40 * seconds(64) + 0.2


def test_masked_files_are_as_long_and_equal_where_only_numbers_moved() -> None:
    old = assembly(Source(BODIES))
    new = assembly(Source(BODIES, strings_first=["SomethingThatIsNew"]))

    table_old, table_new = clr(old).metadata.tables[6], clr(new).metadata.tables[6]
    rows_old = masked(clr(old))[table_old.start :][: 3 * table_old.row_bytes]
    rows_new = masked(clr(new))[table_new.start :][: 3 * table_new.row_bytes]

    assert len(masked(clr(old))) == len(old)
    assert rows_old == rows_new
    assert old[table_old.start :][: len(rows_old)] != new[table_new.start :][: len(rows_new)]


def test_a_file_is_read_once_whatever_ways_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes a quarter of the time that predicting such files takes."""
    bodies = [(f"Method{n}", fat(call(METHOD | 1 + n) + bytes([n % 9]) * (n % 7))) for n in range(300)]
    moved = [(name, fat(call(METHOD | 2 + n) + bytes([n % 9]) * (n % 7))) for n, (name, _) in enumerate(bodies)]
    old, new = assembly(Source(bodies)), assembly(Source([("Added", tiny(b"\x2a")), *moved]))
    read: list[bytes] = []

    def reading(data: bytes) -> ClrFile | None:
        read.append(data)
        return read_clr(data)

    monkeypatch.setattr(clr_module, "read_clr", reading)

    found = predicted_difference(difference(old, new, 16), old, new, 16)

    assert found.kinds & Kind.CLR
    assert read == [old, new]
