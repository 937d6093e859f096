"""A machine whose zlib gives other bytes neither makes nor takes patches that rely on them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

import pytest

from edge_module.inventory import readable_profiles
from imagedelta.delta.decode import opening
from imagedelta.delta.deflate import self_test
from imagedelta.delta.deflate.folding import Deflater
from imagedelta.delta.encode import methods
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.format.roles import Role
from imagedelta.errors import UnsupportedFormat
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.patches import a_patch, applied, assert_rebuilt, streams_of


def a_jar(version: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as jar:
        for name in ("a", "b", "c"):
            jar.writestr(
                zipfile.ZipInfo(name),
                b"".join(b"%d %d;" % (n, n * n % 97) for n in range(900 + version)),
                zipfile.ZIP_DEFLATED,
            )
    return out.getvalue()


SOURCE, TARGET = an_image({"app.jar": a_jar(1)}), an_image({"app.jar": a_jar(2)})


@pytest.fixture
def another_zlib(monkeypatch):
    for module in (methods, opening):
        monkeypatch.setattr(module, "deflate_is_zlib", lambda: False)
    monkeypatch.setattr("edge_module.inventory.deflate_is_zlib", lambda: False)


def test_this_machine_deflates_as_zlib_does():
    assert self_test.deflate_is_zlib()


def test_a_deflater_with_other_bytes_is_told_apart(monkeypatch):
    class OneStepOff(Deflater):
        def compress(self, data: bytes | memoryview) -> bytes:
            packed = super().compress(data)
            return packed[:-1] + bytes([packed[-1] ^ 1]) if packed else packed

    monkeypatch.setattr(self_test, "Deflater", OneStepOff)

    assert not self_test.deflate_is_zlib.__wrapped__()


def test_a_deflater_that_ends_blocks_otherwise_is_told_apart(monkeypatch):
    class NoBlocks(Deflater):
        def __init__(self, level: int, mem_level: int, blocks: Iterable[int] = ()) -> None:
            super().__init__(level, mem_level)

    monkeypatch.setattr(self_test, "Deflater", NoBlocks)

    assert not self_test.deflate_is_zlib.__wrapped__()


def test_a_patch_with_folds_is_refused_where_zlib_is_another_before_anything_is_made(tmp_path, monkeypatch):
    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path)
    assert Role.FOLDS in streams_of(patch)
    monkeypatch.setattr(opening, "deflate_is_zlib", lambda: False)

    with pytest.raises(UnsupportedFormat) as refusal:
        applied(patch, SOURCE)

    assert refusal.value.code == "patch.deflate"


def test_a_builder_with_another_zlib_undoes_nothing(tmp_path, another_zlib):
    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path)

    assert Role.FOLDS not in streams_of(patch)
    assert_rebuilt(TARGET, patch, SOURCE)


@pytest.mark.parametrize("name", ["v1-64m-nofold", "v1-16m-nofold", "v2-64m-nofold", "v2-16m-nofold"])
def test_a_profile_without_folds_undoes_nothing(tmp_path, name):
    patch, summary = a_patch(TARGET, SOURCE, scratch=tmp_path, profile=PROFILES[name])

    assert (Role.FOLDS in streams_of(patch), summary.profile) == (False, name)


def test_a_device_with_another_zlib_offers_only_profiles_without_folds(another_zlib):
    assert readable_profiles(128 * MIB) == ["v1-64m-nofold", "v2-64m-nofold", "v1-16m-nofold", "v2-16m-nofold"]
