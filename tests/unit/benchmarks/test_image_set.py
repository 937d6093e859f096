from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.building import build_recipes
from benchmarks.growth_images import change_recipes, size_recipes
from benchmarks.image_set import Part, Recipe, recipes
from benchmarks.packages import SITE, Packages, another_copy, site_packages, stamped
from benchmarks.pins import PINS
from benchmarks.scenarios import CORPUS, GROWTH, SMALL, placed
from demo.wheels import Wheel
from imagedelta.archives import open_archive

THING = ("thing", "1.0")


@pytest.fixture
def wheels(tmp_path: Path) -> dict[Wheel, Path]:
    """A package of two modules and one that does not compile."""
    path = tmp_path / "thing.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/__init__.py", "NAMES = {'a', 'b', 'c'}\nREADY = 'x' in {'x', 'y', 'z'}\n")
        archive.writestr("thing/more.py", "def more(x):\n    return x + 1\n")
        archive.writestr("thing/template.py", "def {{ name }}():\n")
        archive.writestr("thing-1.0.data/scripts/thing", "#!python\n")
    return {Wheel(*THING, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()): path}


def a_recipe(epoch: int) -> Recipe:
    return Recipe("thing-1", epoch, (Part("thing", lambda packages: site_packages(packages, [THING], epoch)),))


def test_an_image_has_the_same_bytes_each_time_it_is_built(wheels: dict[Wheel, Path], tmp_path: Path) -> None:
    for folder in ("one", "two"):
        build_recipes([a_recipe(1_700_000_000)], tmp_path / folder, wheels, lambda line: None)

    assert (tmp_path / "one/thing-1.tar").read_bytes() == (tmp_path / "two/thing-1.tar").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["thing-1.tar"]


def test_an_image_is_one_that_docker_loads(wheels: dict[Wheel, Path], tmp_path: Path) -> None:
    build_recipes([a_recipe(1_700_000_000)], tmp_path / "images", wheels, lambda line: None)

    with open_archive(tmp_path / "images/thing-1.tar") as archive:
        [image] = archive.images
        with archive.open_layer(image, 0) as stream, tarfile.open(fileobj=stream, mode="r|") as layer:
            names = [member.name for member in layer if member.isfile()]
    assert image.references == ("thing-1:1",)
    assert names == [
        f"{SITE}/thing/__init__.py",
        f"{SITE}/thing/__pycache__/__init__.cpython-311.pyc",
        f"{SITE}/thing/__pycache__/more.cpython-311.pyc",
        f"{SITE}/thing/more.py",
        f"{SITE}/thing/template.py",
    ]


def test_a_rebuild_changes_only_times_in_tar_and_byte_code(wheels: dict[Wheel, Path]) -> None:
    with Packages(wheels) as packages:
        old, new = (site_packages(packages, [THING], epoch) for epoch in (1_700_000_000, 1_700_900_000))

    contents = [{file.path: file.read() for file in files if file.read} for files in (old, new)]
    different = {path for path in contents[0] if contents[0][path] != contents[1][path]}
    assert {path.rpartition(".")[2] for path in different} == {"pyc"}
    assert all(contents[0][path][12:] == contents[1][path][12:] for path in different)
    assert {file.mtime for file in old}.isdisjoint({file.mtime for file in new})


def test_copies_are_alike_and_never_the_same() -> None:
    content = bytes(range(256)) * 64

    copies = [another_copy(content, number) for number in range(3)]

    assert copies[0] == content and len({*copies}) == 3
    assert [sum(a != b for a, b in zip(content, copy, strict=True)) <= 8 * 4 for copy in copies] == [True] * 3


def test_files_of_a_build_get_their_times_in_order_of_paths() -> None:
    files = stamped(((f"{number:04}", b"") for number in reversed(range(401))), "app", 1000, executable=("0400",))

    assert [(files[n].path, files[n].mtime, files[n].mode) for n in (0, 400)] == [
        ("app/0000", 1000, 0o644),
        ("app/0400", 1001, 0o755),
    ]


def test_every_scenario_of_ours_has_its_images_in_the_sets() -> None:
    made = {recipe.name for recipe in (*recipes(), *size_recipes(), *change_recipes())}

    assert {name for s in (*SMALL, *GROWTH) for name in (s.source, s.target) if name} == made
    assert len({s.name for s in (*SMALL, *CORPUS, *GROWTH)}) == len((*SMALL, *CORPUS, *GROWTH))


def test_images_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "net-1.tar").write_bytes(b"")

    found, missing = placed(SMALL, tmp_path)

    assert [item.scenario.name for item in found] == ["first"]
    assert "recon-1.tar" in missing and "net-1.tar" not in missing


def test_every_pin_is_of_one_published_file() -> None:
    assert len({pinned.sha256 for pinned in PINS}) == len({(p.name, p.version) for p in PINS}) == len(PINS)
