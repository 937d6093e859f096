"""Images in which one thing grows: the size of the image with a fixed change, or the change with a fixed size.

``size-<MB>-old`` and ``-new``: one layer of distinct packages, repeated until it has that size, rebuilt with all times
new and one changed assembly. ``change-old`` and ``change-<n>``: a .NET app in which n of its changed files are those of
the next release; the last of them has all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.image_set import Part, Recipe, dotnet_app
from benchmarks.packages import Packages, another_copy, stamped
from demo.layers import File

SIZES_MB = (50, 100, 200, 400, 800)
CHANGES = (1, 3, 10, 30)
"""Numbers of changed files; all of them come on top, as ``change-all``."""
_OLD, _NEW = 1_700_090_000, 1_700_950_000
_CHANGED = "Microsoft.DPrep.Engine.dll"
_RUNTIME = ("dotnetcore2", "2.1.22")


def size_recipes(sizes: tuple[int, ...] = SIZES_MB) -> Iterator[Recipe]:
    """Two images of each size, in MB."""
    for size in sizes:
        for age, epoch in (("old", _OLD), ("new", _NEW)):
            name = f"size-{size}-{age}"
            yield Recipe(name, epoch, (Part(name, partial(_sized, megabytes=size, epoch=epoch)),))


def change_recipes() -> Iterator[Recipe]:
    """One image to start from, and one for each number of changed files."""
    for count in (0, *CHANGES, None):
        name = "change-" + {0: "old", None: "all"}.get(count, str(count))
        epoch = _OLD if count == 0 else _NEW
        yield Recipe(name, epoch, (Part(name, partial(_changed, count=count, epoch=epoch)),))


def _sized(packages: Packages, megabytes: int, epoch: int) -> list[File]:
    contents = dict(_repeated(packages, megabytes * 1_000_000))
    if epoch == _NEW:
        contents[f"copy0/{_CHANGED}"] = dotnet_app(packages, "2.1.7")[_CHANGED]
    return stamped(contents.items(), "app", epoch)


def _repeated(packages: Packages, size: int) -> Iterator[tuple[str, bytes]]:
    """The app, then the runtime, then copies that are alike but never the same, until ``size`` bytes are there."""
    base = [*sorted(dotnet_app(packages, "2.1.6").items()), *sorted(packages.contents(_RUNTIME, "dotnetcore2/bin/"))]
    done = number = 0
    while True:
        for path, content in base:
            yield f"copy{number}/{path}", another_copy(content, number)
            done += len(content)
            if done >= size:
                return
        number += 1


def _changed(packages: Packages, count: int | None, epoch: int) -> list[File]:
    old, new = dotnet_app(packages, "2.1.6"), dotnet_app(packages, "2.1.7")
    differing = [path for path in sorted(new) if old.get(path) != new[path]]
    return stamped((old | {path: new[path] for path in differing[:count]}).items(), "app", epoch)
