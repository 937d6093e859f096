"""Programs that are not as a reader expects: both readers predict the same, and patches between them are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagedelta.delta.encode.matches import matches
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.delta.predict.shifts import Stretch
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, layers_of
from tests.unit.delta.predict.assemblies import Source, call, fat, ready_to_run
from tests.unit.delta.predict.odd_files import ELF, NET, Change, changed
from tests.unit.delta.predict.programs import a_library
from tests.unit.delta.predict.test_second_reader import assert_same
from tests.vectors.reader import Patch

_BODIES = [(f"Method{n}", fat(call(0x0A000001 + n % 9) + call(0x06000001 + n) + b"\x17" * (n % 7))) for n in range(60)]
_MEMBERS = [f"Member{n}" for n in range(20)]
LIBRARIES = a_library(90), a_library(90, {30: b"\x90" * 7, 60: b"\xcc" * 33})
ASSEMBLIES = (
    ready_to_run(Source(_BODIES, _MEMBERS), 60),
    ready_to_run(Source([("Added", fat(b"\x2a" * 9)), *_BODIES], ["Put in", *_MEMBERS]), 64),
)
ODD = [pytest.param(LIBRARIES, change, id=name) for name, change in ELF.items()]
ODD += [pytest.param(ASSEMBLIES, change, id=f"{name} (.NET)") for name, change in NET.items()]


@pytest.mark.parametrize(("files", "change"), ODD)
def test_both_predict_the_same_of_odd_files(files: tuple[bytes, bytes], change: Change) -> None:
    old, new = files
    found = [Stretch(match.old, match.new, match.length) for match in matches(old, new)]
    whole = [match for match in found if match.old + match.length <= len(changed(old, change))]

    for kinds in (127, 255):
        assert_same(kinds, changed(old, change), new, whole, [3, -2])
        assert_same(kinds, old, changed(new, change), found, [3, -2])
        assert_same(kinds, changed(old, change), changed(new, change), whole, [])


@pytest.mark.parametrize("odd_new", [True, False], ids=["odd before and behind", "odd before"])
@pytest.mark.parametrize("profile", ["v2-64m", "v2-64m-cm"])
def test_odd_files_are_patched(tmp_path: Path, profile: str, odd_new: bool) -> None:
    def image(version: int) -> dict[str, bytes]:
        return {
            f"{folder}/{name.replace(' ', '-')}": changed(files[version], change if odd_new or not version else bytes)
            for folder, files, changes in (("elf", LIBRARIES, ELF), ("net", ASSEMBLIES, NET))
            for name, change in changes.items()
        }

    source, target = an_image(image(0)), an_image(image(1))

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=PROFILES[profile])

    assert_rebuilt(target, patch, source)
    if profile == "v2-64m":
        read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()
        assert read == (target.image.config, layers_of(target))
