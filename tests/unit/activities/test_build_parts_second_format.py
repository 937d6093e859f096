"""Predictions, digests of lists and mixed differences in a build of many steps: whatever dies between them, the patch
is that of a build in one go."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from activities import build_parts
from contracts.records import Transfer
from imagedelta.delta import read_patch_header
from imagedelta.delta.encode import build_patch, chunks
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from tests.unit.activities.bench import Bench
from tests.unit.activities.test_build_parts import (
    assert_built,
    small_parts,
    steps,
    test_a_death_or_an_error_at_any_call_of_the_storage_is_made_good,
    test_whatever_is_lost_or_damaged_in_scratch_is_made_again,
)
from tests.unit.delta.patches import content_of
from tests.unit.delta.second_format import everything

__all__ = [
    "small_parts",
    "test_a_death_or_an_error_at_any_call_of_the_storage_is_made_good",
    "test_whatever_is_lost_or_damaged_in_scratch_is_made_again",
]
"""They are tried here with the images and profiles of this file."""
APP_1, APP_2 = (everything(version, (f"fleet.example/app:{version}",)) for version in (1, 2))


@pytest.fixture(params=["v2-64m-cm-thin"], autouse=True)
def profile(request: pytest.FixtureRequest, small_parts: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the device reads."""
    name: str = request.param
    monkeypatch.setattr("tests.unit.activities.bench.DEFAULT_PROFILE", PROFILES[name])
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2_000)
    monkeypatch.setattr(build_parts, "_PART_BYTES", 2_000)
    return name


@pytest.fixture
def transfer(bench: Bench, profile: str) -> Transfer:
    """app:2 for a device that has app:1, waiting for its patch."""
    bench.register(APP_1, APP_2)
    bench.enrol(APP_1)
    return bench.transfer(APP_2, APP_1)


@pytest.fixture
def in_one_go(tmp_path: Path, profile: str) -> bytes:
    """The patch when it is built in one go."""
    out = io.BytesIO()
    build_patch(content_of(APP_2), [content_of(APP_1)], out, profile=PROFILES[profile], scratch=tmp_path)
    return out.getvalue()


@pytest.fixture
def expected(in_one_go: bytes) -> str:
    return hashlib.sha256(in_one_go).hexdigest()


def test_many_steps_give_the_patch_of_one(
    bench: Bench, transfer: Transfer, in_one_go: bytes, expected: str, profile: str
) -> None:
    streams = {row.role for row in read_patch_header(io.BytesIO(in_one_go)).streams}

    states = list(steps(bench, transfer))

    assert {Role.PREDICTIONS, Role.DIGESTS, Role.FOLDS} <= streams
    assert states == ["more"] * (len(states) - 1) + ["verified"]
    assert len(states) > 4
    assert_built(bench, transfer, expected)
    assert bench.patch_of(transfer).profile == profile
