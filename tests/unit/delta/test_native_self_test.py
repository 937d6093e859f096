"""A native coder that is broken, or of another version, counts as none: nothing that needs it is asked for or taken."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import imagedelta_native
import pytest

from edge_module.inventory import readable_profiles
from imagedelta.delta.format import mixing
from imagedelta.delta.format.mixing_self_test import (
    BITS,
    CODED_BYTES,
    CODED_DIFFERENCES,
    DIFFERENCES,
    NUMBERS,
    OLD,
    PLACE,
    codes_as_stated,
)
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.errors import UnsupportedFormat
from imagedelta.limits import MIB
from tests.unit.delta.patches import applied
from tests.vectors import make

INSTALLED = Path(imagedelta_native.__file__).parent


def test_the_samples_are_what_the_coder_makes() -> None:
    coder = imagedelta_native.ResidualEncoder(BITS)

    assert coder.span(DIFFERENCES, OLD, NUMBERS, PLACE) + coder.finish() == CODED_DIFFERENCES
    assert b"".join(imagedelta_native.encode_bytes([OLD], BITS)) == CODED_BYTES
    assert codes_as_stated(imagedelta_native)


def emptied(package: Path) -> None:
    """As a file is whose bytes a power cut lost."""
    (package / "__init__.py").write_bytes(b"")


def zeroed(package: Path) -> None:
    (package / "__init__.py").write_bytes(bytes((package / "__init__.py").stat().st_size))


def cut_off(package: Path) -> None:
    for library in package.glob("_native*"):
        library.write_bytes(library.read_bytes()[:50])


def of_another_machine(package: Path) -> None:
    for library in package.glob("_native*"):
        data = bytearray(library.read_bytes())
        data[18] ^= 0x55
        library.write_bytes(data)


def without_library(package: Path) -> None:
    for library in package.glob("_native*"):
        library.unlink()


def with_other_arguments(package: Path) -> None:
    changed(package, "place: int = 0) -> bytes:", "place: int = 0, *, more: int) -> bytes:")


def of_another_form(package: Path) -> None:
    """It decodes to other bytes, as one would whose model is another."""
    changed(package, "return bytes(out)", "return bytes(out)[:-1] + b'?'")


def changed(package: Path, old: str, new: str) -> None:
    source = (package / "__init__.py").read_text()
    assert old in source
    (package / "__init__.py").write_text(source.replace(old, new))


BROKEN = [emptied, zeroed, cut_off, of_another_machine, without_library, with_other_arguments, of_another_form]


@pytest.fixture(params=BROKEN, ids=lambda damage: damage.__name__)
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    damage: Callable[[Path], None] = request.param
    shutil.copytree(INSTALLED, tmp_path / INSTALLED.name, ignore=shutil.ignore_patterns("__pycache__"))
    damage(tmp_path / INSTALLED.name)
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == INSTALLED.name}
    for name in loaded:
        del sys.modules[name]
    with monkeypatch.context() as patched:
        patched.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == INSTALLED.name]:
        del sys.modules[name]
    sys.modules.update(loaded)


@pytest.mark.usefixtures("broken")
def test_a_broken_package_counts_as_none() -> None:
    with pytest.raises(UnsupportedFormat) as refusal:
        applied((make.FOLDER / "patch" / "good-mixed.imgdelta").read_bytes(), make.PROGRAM_1)

    assert refusal.value.code == "patch.native"
    assert not any(PROFILES[name].mixes for name in readable_profiles(1024 * MIB))
    assert not mixing.native_is_there()


def test_it_is_there_again_when_it_is_mended() -> None:
    assert mixing.native_is_there()
    assert any(PROFILES[name].mixes for name in readable_profiles(1024 * MIB))


def test_a_module_that_is_something_else_is_none() -> None:
    assert not codes_as_stated(ModuleType("imagedelta_native"))
