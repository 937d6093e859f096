"""What is measured: pairs of images, and what changes between them.

The small set is built by ``python -m benchmarks images``. The full corpus is a folder of ``docker save`` tars of the
same kind of images with Debian below them; its names are given here, its folder on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth_images import CHANGES, SIZES_MB


@dataclass(frozen=True)
class Scenario:
    """One transfer: the device has ``source`` (or nothing), and is to have ``target``."""

    name: str
    source: str | None
    target: str
    title: str
    x: float | None = None
    """Where growth is measured: size of the image in MB, or number of changed files (0: all)."""


@dataclass(frozen=True)
class Placed:
    """A scenario with its files."""

    scenario: Scenario
    source: Path | None
    target: Path


SMALL = (
    Scenario("first", None, "net-1", "first image, nothing on the device"),
    Scenario("recon", "recon-1", "net-1", "first .NET app; only the Image Reconstructor is there"),
    Scenario("recon-py", "recon-1", "py-1", "first Python app; only the Image Reconstructor is there"),
    Scenario("recon-web", "recon-1", "web-1", "first web app; only the Image Reconstructor is there"),
    Scenario("base", "tool-1", "net-1", "new app, same .NET base"),
    Scenario("dll", "net-1", "net-1dll", "one assembly changed, all times new"),
    Scenario("app", "net-1", "net-2", "patch release of the app"),
    Scenario("runtime", "net-1", "net-1rt", "patch level of the .NET runtime"),
    Scenario("native", "net-1", "net-1lib", "native libraries rebuilt, some under new names"),
    Scenario("py", "py-1", "py-2", "Python rebuild, one small package changed"),
    Scenario("py-deps", "py-2", "py-3", "four newer Python packages"),
    Scenario("web", "web-1", "web-2", "next release of a web app"),
    Scenario("go", "go-1", "go-2", "patch release of a program in Go"),
    Scenario("rust", "rust-1", "rust-2", "patch release of a program in Rust"),
    Scenario("java", "java-1", "java-2", "later patch level of a Java runtime, and a jar"),
    Scenario("musl", "musl-1", "musl-2", "patch release of extensions built for musl"),
)

CORPUS = (
    Scenario("S0", None, "netapp-v1", "first image, nothing on the device"),
    Scenario("S1", "recon-v1", "netapp-v1", "first image; only the Image Reconstructor is there"),
    Scenario("S1x", "recon-v1", "pyapp-v1", "first Python image; only the Image Reconstructor is there"),
    Scenario("S1n", "recon-v1", "nodeapp-v1", "first Node image; only the Image Reconstructor is there"),
    Scenario("S2", "mssql-v1", "netapp-v1", "new app, same .NET base"),
    Scenario("S3t", "netapp-v1", "netapp-v1t", "one assembly changed, all times new"),
    Scenario("S3", "netapp-v1", "netapp-v2", "patch release of the app"),
    Scenario("S3p", "pyapp-v1", "pyapp-v2", "Python rebuild, one small package changed"),
    Scenario("S4", "netapp-v4a", "netapp-v4b", "minor release of the app"),
    Scenario("S4p", "pyapp-v2", "pyapp-v3", "newer Python packages"),
    Scenario("S5", "netapp-v1", "netapp-v1rt", "patch level of the .NET runtime"),
    Scenario("S5s", "netapp-v1", "netapp-v1sec", "six patched Debian packages in the base"),
    Scenario("S6", "netapp-v1", "netapp-v1net31", ".NET runtime 2.1 to 3.1"),
    Scenario("S6t", "netapp-v1", "netapp-v1tx", "Debian bookworm to trixie"),
    Scenario("S7", "big-v1", "big-v2", "1.9 GB of machine learning packages, newer versions"),
    Scenario("S8", "nodeapp-v1", "nodeapp-v2", "five newer npm packages"),
    Scenario("S8r", "nodeapp-v1", "nodeapp-v1rt", "Node 20.18.1 to 20.18.2"),
    Scenario("S9", "dprep-4.10.8", "dprep-4.10.9", "patch release of a Python package of .NET assemblies"),
)

GROWTH = (
    *(Scenario(f"size-{mb}", f"size-{mb}-old", f"size-{mb}-new", f"{mb} MB, one file changed", mb) for mb in SIZES_MB),
    *(Scenario(f"change-{n}", "change-old", f"change-{n}", f"{n} files changed", n) for n in CHANGES),
    Scenario("change-all", "change-old", "change-all", "all files of the next release", 0),
)


def placed(scenarios: Iterable[Scenario], folder: Path) -> tuple[list[Placed], list[str]]:
    """The scenarios whose images are in ``folder``, and the names of images that are not."""
    found, missing = [], set()
    for scenario in scenarios:
        source = folder / f"{scenario.source}.tar" if scenario.source else None
        target = folder / f"{scenario.target}.tar"
        absent = [path.name for path in (source, target) if path and not path.exists()]
        missing.update(absent)
        if not absent:
            found.append(Placed(scenario, source, target))
    return found, sorted(missing)
