"""Build a set of images into a folder, and know when that is done already."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.growth_images import change_recipes, size_recipes
from benchmarks.image_set import Recipe, recipes, write_image
from benchmarks.packages import Packages
from benchmarks.pins import PINS
from demo.layers import Layer
from demo.wheels import Wheel, fetch


def build(
    folder: Path, downloads: Path, *, growth: bool = False, report: Callable[[str], None] = lambda line: None
) -> list[Path]:
    """Build the small set, and with ``growth`` the images that grow; images that are there are kept.

    Args:
        folder: Gets one ``docker save`` tar for each image.
        downloads: Where fetched wheels are kept.
        report: Called with a line for each image.

    Raises:
        WheelsUnavailable: pip could not fetch them.
    """
    wanted = [*recipes(), *(size_recipes() if growth else ()), *(change_recipes() if growth else ())]
    missing = [recipe for recipe in wanted if not (folder / f"{recipe.name}.tar").exists()]
    if missing:
        report(f"fetching {len(PINS)} packages (pip); byte code of Python {platform.python_version()}")
        build_recipes(missing, folder, fetch(downloads, wanted=PINS), report)
    return [folder / f"{recipe.name}.tar" for recipe in wanted]


def build_recipes(
    wanted: Iterable[Recipe], folder: Path, wheels: dict[Wheel, Path], report: Callable[[str], None]
) -> None:
    """Write the images of these recipes."""
    folder.mkdir(parents=True, exist_ok=True)
    with Packages(wheels) as packages, tempfile.TemporaryDirectory(dir=folder) as scratch:
        written: dict[str, Layer] = {}
        for recipe in wanted:
            path = write_image(recipe, packages, folder, Path(scratch), written)
            report(f"{path.name}  {path.stat().st_size / 1e6:,.1f} MB")
