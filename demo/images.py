"""The four images of the demo, made of published packages: real .NET assemblies and native libraries.

===========  =============================================================================================
``recon:1``  what the Image Reconstruction module's own image holds: its Python packages on the shared base
``app:1``    the .NET engine of azureml-dataprep 2.1.6, published as an app
``app:2``    its next patch release, 2.1.7; as after any rebuild, every file has another time
``tool:1``   another .NET app, the SQL tools service, without the runtime files that the base already has
===========  =============================================================================================

All stand on the same two layers: native libraries, and the .NET runtime. Nothing here asks the machine for
its time, user, compiler or Python version, so an image has the same image ID everywhere.
"""

from __future__ import annotations

import calendar
import json
import posixpath
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from demo.layers import File, Layer, text_file, write_layer
from demo.wheels import Wheel, wheel
from imagedelta.archives.layout import OciLayout
from imagedelta.archives.model import Image, image_from_config
from imagedelta.archives.writing import write_docker_archive, write_oci_archive

_BASE_EPOCH = 1_700_000_000
"""When the base layers were built; each build of an app has its own epoch, later ones a later one."""
_BUILDS = {"recon:1": _BASE_EPOCH + 86_400, "app:1": _BASE_EPOCH + 2 * 86_400, "tool:1": _BASE_EPOCH + 5 * 86_400}
_BUILDS["app:2"] = _BUILDS["app:1"] + 9 * 86_400 + 1234

_PIECE = 1024 * 1024
_FILES_PER_SECOND = 400
"""How fast a build writes its files: neighbours share a time, as after ``dotnet publish``."""

_APP_BIN = "azureml/dataprep/api/engineapi/bin/"
_TOOL_BIN = "mssqlcli/mssqltoolsservice/bin/"
_OTHER_SYSTEMS = ("/runtimes/win", "/runtimes/osx")

# fmt: off
_RECON_PACKAGES = [
    "aiohttp", "annotated_types", "bsdiff4", "certifi", "cffi", "charset_normalizer", "click", "cryptography",
    "docker", "grpcio", "httpx", "idna", "pycparser", "pydantic", "pydantic_core", "requests", "rich",
    "typing_extensions", "urllib3", "zstandard",
]
# fmt: on

RECON, APP_OLD, APP_NEW, TOOL = "recon:1", "app:1", "app:2", "tool:1"
REFERENCES = (RECON, APP_OLD, APP_NEW, TOOL)


@dataclass(frozen=True)
class BuiltImage:
    """An image whose layers lie in files."""

    image: Image
    layers: tuple[Layer, ...]

    @property
    def full_bytes(self) -> int:
        """Uncompressed layers and config: what moving the whole image moves."""
        return sum(layer.size for layer in self.layers) + len(self.image.config)


@dataclass(frozen=True)
class _Part:
    """One layer to be: its file name, what a history line says of it, and its files."""

    name: str
    step: str
    epoch: int
    files: Callable[[Wheels], Iterator[File]]


class Wheels:
    """The fetched wheels, by pin."""

    def __init__(self, paths: Mapping[Wheel, Path]) -> None:
        self._open = {pinned: zipfile.ZipFile(path) for pinned, path in paths.items()}

    def members(self, name: str, version: str | None = None, prefix: str = "") -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """(path below ``prefix``, member) of every file, in the wheel's own order."""
        for info in self._open[wheel(name, version)].infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                yield info.filename.removeprefix(prefix), info

    def reader(self, name: str, version: str | None, info: zipfile.ZipInfo) -> Callable[[], bytes]:
        return lambda: self._open[wheel(name, version)].read(info)

    def close(self) -> None:
        for archive in self._open.values():
            archive.close()


def build_images(
    wheels: Mapping[Wheel, Path], folder: Path, report: Callable[[str], None] = lambda reference: None
) -> dict[str, BuiltImage]:
    """Build every image; layer tars go to ``folder``, a layer that two images share is written once.

    Args:
        report: Called with each reference before it is built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    opened = Wheels(wheels)
    written: dict[str, Layer] = {}
    built = {}
    try:
        for reference in REFERENCES:
            report(reference)
            built[reference] = _build(reference, opened, folder, written)
    finally:
        opened.close()
    return built


def write_archives(built: Mapping[str, BuiltImage], folder: Path) -> dict[str, Path]:
    """Write each image as one tar: every other one as ``docker save`` does, the rest as OCI archives."""
    paths = {}
    for number, (reference, image) in enumerate(built.items()):
        write, form = ((write_docker_archive, "docker"), (write_oci_archive, "oci"))[number % 2]
        paths[reference] = folder / f"{reference.replace(':', '-')}.{form}.tar"
        sizes = [layer.size for layer in image.layers]
        write(paths[reference], image.image, sizes, partial(_open_layer, image.layers))
    return paths


def put_into_layout(image: BuiltImage, folder: Path) -> None:
    """Add the image to an OCI layout folder: what a device had before anybody ordered anything."""
    layout = OciLayout(folder)
    for layer in image.layers:
        with layer.path.open("rb") as stream:
            layout.add_layer(layer.diff_id, iter(partial(stream.read, _PIECE), b""))
    layout.add_image(image.image)


def _open_layer(layers: Sequence[Layer], position: int) -> BinaryIO:
    return layers[position].path.open("rb")


def _build(reference: str, wheels: Wheels, folder: Path, written: dict[str, Layer]) -> BuiltImage:
    parts = (*_base_parts(), *_app_parts(reference))
    for part in parts:
        if part.name not in written:
            written[part.name] = write_layer(part.files(wheels), folder / f"{part.name}.tar", part.epoch)
    layers = tuple(written[part.name] for part in parts)
    config = _config(reference, parts, layers)
    return BuiltImage(image_from_config(config, (reference,)), layers)


def _base_parts() -> tuple[_Part, ...]:
    return (
        _Part("base-native", "ADD native libraries /usr/lib", _BASE_EPOCH, _native),
        _Part("base-dotnet", "COPY dotnet 2.1.22 /usr/share/dotnet", _BASE_EPOCH + 3600, _runtime),
    )


def _app_parts(reference: str) -> tuple[_Part, ...]:
    name, epoch = reference.replace(":", "-"), _BUILDS[reference]
    content: dict[str, tuple[str, Callable[[Wheels], Iterator[File]]]] = {
        RECON: ("COPY site-packages /usr/local/lib/python3.11", lambda wheels: _python_packages(wheels, epoch)),
        APP_OLD: ("COPY publish /app", lambda wheels: _app(wheels, "2.1.6", epoch)),
        APP_NEW: ("COPY publish /app", lambda wheels: _app(wheels, "2.1.7", epoch)),
        TOOL: ("COPY publish /app", lambda wheels: _tool(wheels, epoch)),
    }
    step, files = content[reference]
    return (
        _Part(name, step, epoch, files),
        _Part(f"{name}-settings", "COPY settings /etc", epoch + 60, lambda wheels: _settings(reference, epoch + 60)),
    )


def _native(wheels: Wheels) -> Iterator[File]:
    for path, info in wheels.members("psycopg2_binary", prefix="psycopg2_binary.libs/"):
        yield File(
            f"usr/lib/x86_64-linux-gnu/{path}",
            _time_of(info),
            wheels.reader("psycopg2_binary", None, info),
            mode=0o755,
        )
    for path, info in wheels.members("certifi", prefix="certifi/"):
        if path == "cacert.pem":
            reader = wheels.reader("certifi", None, info)
            yield File("etc/ssl/certs/ca-certificates.crt", _time_of(info), reader)
    yield text_file("etc/os-release", 'ID=edge\nNAME="Edge base"\nVERSION_ID="1"\n', _BASE_EPOCH)
    yield text_file(
        "etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\napp:x:1000:1000::/app:/sbin/nologin\n", _BASE_EPOCH
    )
    yield text_file("etc/group", "root:x:0:\napp:x:1000:\n", _BASE_EPOCH)


def _runtime(wheels: Wheels) -> Iterator[File]:
    for path, info in wheels.members("dotnetcore2", prefix="dotnetcore2/bin/"):
        mode = 0o755 if path == "dotnet" or path.endswith(".so") else 0o644
        reader = wheels.reader("dotnetcore2", None, info)
        yield File(f"usr/share/dotnet/{path}", _time_of(info), reader, mode=mode)
    yield File("usr/bin/dotnet", _BASE_EPOCH, link="/usr/share/dotnet/dotnet")


def _python_packages(wheels: Wheels, epoch: int) -> Iterator[File]:
    position = 0
    for name in _RECON_PACKAGES:
        for path, info in wheels.members(name):
            if ".data/" in path:
                continue  # scripts and headers: pip would rewrite or drop them
            mode = 0o755 if ".so" in posixpath.basename(path) else 0o644
            target = f"usr/local/lib/python3.11/dist-packages/{path}"
            yield File(target, epoch + position // _FILES_PER_SECOND, wheels.reader(name, None, info), mode=mode)
            position += 1


def _app(wheels: Wheels, version: str, epoch: int) -> Iterator[File]:
    position = 0
    for path, info in wheels.members("azureml_dataprep", version, _APP_BIN):
        if not f"/{path}".startswith(_OTHER_SYSTEMS):
            reader = wheels.reader("azureml_dataprep", version, info)
            yield File(f"app/{path}", epoch + position // _FILES_PER_SECOND, reader)
            position += 1


def _tool(wheels: Wheels, epoch: int) -> Iterator[File]:
    runtime = {posixpath.basename(path) for path, _ in wheels.members("dotnetcore2")}
    position = 0
    for path, info in wheels.members("mssql_cli", None, _TOOL_BIN):
        if posixpath.basename(path) not in runtime:
            reader = wheels.reader("mssql_cli", None, info)
            yield File(f"app/{path}", epoch + position // _FILES_PER_SECOND, reader)
            position += 1


def _settings(reference: str, mtime: int) -> Iterator[File]:
    name, version = reference.split(":")
    content = {"module": name, "build": f"{version}.0.{mtime % 10_000}", "telemetrySeconds": 10, "logLevel": "info"}
    yield text_file(f"etc/{name}/settings.json", json.dumps(content, indent=2) + "\n", mtime)


def _time_of(info: zipfile.ZipInfo) -> int:
    return calendar.timegm((*info.date_time, 0, 0, 0))


def _config(reference: str, parts: tuple[_Part, ...], layers: tuple[Layer, ...]) -> bytes:
    """The image's config JSON, in the order of fields that Docker writes."""
    created = _created(_BUILDS[reference] + 120)
    commands = {
        RECON: ["python3", "-m", "edge_module", "run"],
        TOOL: ["dotnet", "MicrosoftSqlToolsServiceLayer.dll"],
    }
    document = {
        "architecture": "amd64",
        "config": {
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "DOTNET_CLI_TELEMETRY_OPTOUT=1",
            ],
            "Cmd": commands.get(reference, ["dotnet", "Microsoft.DPrep.Execution.EngineHost.dll"]),
            "WorkingDir": "/app",
            "Labels": {"org.opencontainers.image.title": reference.split(":")[0]},
        },
        "created": created,
        "history": [{"created": _created(part.epoch), "created_by": part.step} for part in parts],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _created(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
