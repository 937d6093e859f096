"""Programs that are hardly alike are searched once, masked; what is made of them is right, and no larger."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from imagedelta.delta.encode import predicting
from imagedelta.delta.encode.file_diff import difference
from imagedelta.delta.encode.likeness import is_unlike
from imagedelta.delta.encode.predicting import predicted_difference, unlike_difference
from imagedelta.delta.encode.ways import packed_cost
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.predict.kinds import Kind
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt
from tests.unit.delta.predict.arm_programs import an_arm_program
from tests.unit.delta.predict.assemblies import Source, assembly, call, fat, ready_to_run
from tests.unit.delta.predict.programs import a_program

MIN_MATCH = 16
OLD = a_program(3000)
MOVED = a_program(3000, {100: b"\x90" * 7, 2000: b"\xcc" * 33})
RECOMPILED = a_program(3000, {number: b"\x90" * (1 + number % 5) for number in range(0, 3000, 2)})
ANOTHER = a_program(3000, seed=8)


def methods(count: int, *, first: int = 1, longer: int = 0) -> list[tuple[str, bytes]]:
    """Methods that call each other every dozen bytes; every tenth is longer by so many bytes.

    Args:
        first: Number of the first.
    """
    bodies = random.Random(7)

    def body(number: int) -> bytes:
        calls = (call(0x06000000 + first + bodies.randrange(count)) + bodies.randbytes(7) for _ in range(8))
        return b"".join(calls) + b"\x17" * (longer * (number % 10 == 0)) + b"\x2a"

    return [(f"Method{number}", fat(body(number))) for number in range(count)]


ASSEMBLY = assembly(Source(methods(1500)))
LATER = assembly(
    Source([("Zeroth", fat(b"\x2a")), *methods(1500, first=2, longer=3)], strings_first=["SomethingThatIsNew"])
)


def test_a_file_of_which_samples_are_in_its_base_is_alike() -> None:
    assert not is_unlike(OLD, OLD)
    assert not is_unlike(OLD, OLD[5000:] + bytes(20_000))


def test_a_file_of_which_nothing_is_in_its_base_is_unlike() -> None:
    assert is_unlike(OLD, ANOTHER)
    assert is_unlike(b"", ANOTHER)


def test_what_has_only_zeros_tells_nothing() -> None:
    assert is_unlike(OLD, bytes(20_000))
    assert is_unlike(OLD, b"")


def test_programs_that_are_alike_and_files_that_are_none_are_left_to_other_searches() -> None:
    assert unlike_difference(OLD, OLD, MIN_MATCH) is None
    assert unlike_difference(OLD, ANOTHER[4:], MIN_MATCH) is None
    assert unlike_difference(b"a" * 9000, b"b" * 9000, MIN_MATCH) is None


def test_a_program_whose_references_all_moved_is_found_at_once_and_predicted() -> None:
    calls_moved = is_unlike(OLD, RECOMPILED)

    found = unlike_difference(OLD, RECOMPILED, MIN_MATCH)

    assert calls_moved
    assert found
    assert found.kinds & Kind.CODE
    searched_twice = predicted_difference(difference(OLD, RECOMPILED, MIN_MATCH), OLD, RECOMPILED, MIN_MATCH)
    assert packed_cost(found) <= 1.02 * packed_cost(searched_twice)


def test_a_small_assembly_is_left_to_other_searches() -> None:
    old, new = (assembly(Source(methods(300, first=first))) for first in (1, 2))

    assert is_unlike(old, new)

    assert unlike_difference(old, new, MIN_MATCH) is None


def test_an_assembly_that_was_compiled_from_much_later_sources_is_so_too() -> None:
    found = unlike_difference(ASSEMBLY, LATER, MIN_MATCH)

    assert is_unlike(ASSEMBLY, LATER)
    assert found
    searched_twice = predicted_difference(difference(ASSEMBLY, LATER, MIN_MATCH), ASSEMBLY, LATER, MIN_MATCH)
    assert packed_cost(found) <= 1.02 * packed_cost(searched_twice)


@pytest.mark.parametrize(("base", "target"), [(OLD, RECOMPILED), (OLD, ANOTHER), (ASSEMBLY, LATER)])
def test_a_device_makes_such_a_program(base: bytes, target: bytes, tmp_path: Path) -> None:
    source, changed = an_image({"bin/app": base}), an_image({"bin/app": target})

    patch, _ = a_patch(changed, source, scratch=tmp_path, profile=PROFILES["v2-64m"])

    assert_rebuilt(changed, patch, source)


PROGRAMS = {
    "x86-64": a_program(1500),
    "aarch64": an_arm_program(1500),
    "bytecode": assembly(Source(methods(600))),
    "bytecode and machine code": ready_to_run(Source(methods(300)), functions=400),
}


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("seed", range(4))
def test_a_device_makes_whatever_is_taken_for_unlike(
    kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alike or not, whole or cut short, with bytes that came and went anywhere, headers and tables too."""
    monkeypatch.setattr(predicting, "is_unlike", lambda old, new: True)
    monkeypatch.setattr(predicting, "_SMALL_ASSEMBLY", 0)
    chance = random.Random(f"{kind} {seed}")
    old, new = PROGRAMS[kind], bytearray(PROGRAMS[kind])
    for _ in range(chance.randrange(1, 80)):
        at = chance.randrange(len(new))
        new[at : at + chance.randrange(9)] = chance.randbytes(chance.randrange(9))
    del new[chance.choice([len(new), chance.randrange(5_000, len(new))]) :]
    source, target = an_image({"bin/app": old}), an_image({"bin/app": bytes(new)})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=PROFILES["v2-64m"])

    assert_rebuilt(target, patch, source)
