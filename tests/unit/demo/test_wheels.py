from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from demo import wheels


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wheels.Wheel:
    """One pinned wheel, made here, instead of the published ones."""
    path = tmp_path / "made" / "thing-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", "")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    pinned = wheels.Wheel("thing", "1.0", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(wheels, "WHEELS", (pinned,))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return pinned


def test_a_missing_wheel_is_fetched_and_then_used_without_any_index(
    small: wheels.Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = wheels.fetch(tmp_path / "kept")

    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    second = wheels.fetch(tmp_path / "kept")

    assert first == second == {small: tmp_path / "kept" / "thing-1.0-py3-none-any.whl"}
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["thing-1.0-py3-none-any.whl"]


def test_a_damaged_wheel_is_fetched_again(small: wheels.Wheel, tmp_path: Path) -> None:
    [kept] = wheels.fetch(tmp_path / "kept").values()
    kept.write_bytes(bytes(small.size))

    [again] = wheels.fetch(tmp_path / "kept").values()

    assert hashlib.sha256(again.read_bytes()).hexdigest() == small.sha256


def test_what_cannot_be_fetched_is_named_with_what_to_do(
    small: wheels.Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))

    with pytest.raises(wheels.WheelsUnavailable, match=r"thing 1\.0.*run it again.*offline"):
        wheels.fetch(tmp_path / "kept")


def test_every_pin_is_of_one_published_file() -> None:
    assert len({pinned.sha256 for pinned in wheels.WHEELS}) == len(wheels.WHEELS)
    assert sum(pinned.size for pinned in wheels.WHEELS) < 250_000_000


def test_others_can_have_wheels_of_their_own_fetched(
    small: wheels.Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "WHEELS", ())

    assert list(wheels.fetch(tmp_path / "kept", wanted=[small])) == [small]
