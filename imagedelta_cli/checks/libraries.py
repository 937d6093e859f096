"""Libraries: importable, of a version the project allows, and do the codecs give back what they were given."""

from __future__ import annotations

import importlib
import lzma
import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import zstandard
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from imagedelta.delta.deflate.self_test import deflate_is_zlib
from imagedelta.delta.format.mixing_self_test import codes_as_stated
from imagedelta_cli.checks.finding import Finding, State, first_line

_MODULES = {
    "pyyaml": "yaml",
    "azure-functions": "azure.functions",
    "azure-functions-durable": "azure.durable_functions",
}
_MODULES |= {"azure-iot-hub": "azure.iot.hub", "azure-storage-blob": "azure.storage.blob", "brotli": "brotli"}
_DEVELOPMENT = ("dev", "bench", "demo")
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)$", re.MULTILINE)
_SAMPLE = random.Random(1).randbytes(50_000) + b"text that repeats " * 5_000  # noqa: S311 - a sample, no secret


def check_libraries(pins: Path) -> Iterator[Finding]:
    """Args:
    pins: ``constraints.txt`` with the versions this project is tested with; it need not exist.
    """
    pinned = _pins(pins)
    for name, wanted in _wanted().items():
        yield _library(wanted, pinned.get(name, ""))


def check_codecs() -> Iterator[Finding]:
    """Pack and unpack a sample with each codec."""
    zstd = zstandard.ZstdCompressor(level=3)
    yield _codec("zlib", zlib.ZLIB_RUNTIME_VERSION, lambda data: zlib.decompress(zlib.compress(data)))
    yield _deflate()
    yield _codec("liblzma", "xz", lambda data: lzma.decompress(lzma.compress(data)))
    text = ".".join(map(str, zstandard.ZSTD_VERSION))
    yield _codec("zstd", text, lambda data: zstandard.ZstdDecompressor().decompress(zstd.compress(data)))


def check_native() -> Iterator[Finding]:
    """Code a sample with the native coder, which is optional."""
    try:
        native = importlib.import_module("imagedelta_native")
    except ImportError:
        remedy = "No patch needs it. To have it: pip install ./native, with a C compiler."
        yield Finding("native coder", State.NOT_CONFIGURED, "not installed", remedy)
        return
    if codes_as_stated(native):
        yield Finding("native coder", State.OK, f"{version('imagedelta-native')}: makes what the format says")
    else:
        yield Finding("native coder", State.FAILED, "a sample came out wrong", "Build it anew: pip install ./native")


def _wanted() -> dict[str, Requirement]:
    """What the project and its extras need, each library once, without what only development needs."""
    found: dict[str, Requirement] = {}
    for wanted in map(Requirement, requires("imagedelta") or ()):
        if not any(wanted.marker and wanted.marker.evaluate({"extra": extra}) for extra in _DEVELOPMENT):
            found.setdefault(canonicalize_name(wanted.name), wanted)
    return found


def _pins(path: Path) -> Mapping[str, str]:
    text = path.read_text("utf-8") if path.is_file() else ""
    return {canonicalize_name(name): pin for name, pin in _PIN.findall(text)}


def _library(wanted: Requirement, pin: str) -> Finding:
    check = f"library {wanted.name}"
    optional = wanted.marker is not None and "extra" in str(wanted.marker)
    install = f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        there = version(wanted.name)
    except PackageNotFoundError:
        state = State.NOT_CONFIGURED if optional else State.FAILED
        return Finding(check, state, "not installed", f"If it is needed here: {install}" if optional else install)
    name = _MODULES.get(canonicalize_name(wanted.name), wanted.name.replace("-", "_"))
    try:
        importlib.import_module(name)
    except ImportError as error:
        found = f"{there} cannot be imported: {first_line(error)}"
        return Finding(check, State.WARNING if optional else State.FAILED, found, _import_remedy(wanted.name))
    if not wanted.specifier.contains(there, prereleases=True):
        return Finding(check, State.FAILED, f"{there}, wanted {wanted.specifier}", install)
    if pin and pin != there:
        return Finding(check, State.WARNING, f"{there}, tested with {pin}", f"pip install '{wanted.name}=={pin}'")
    return Finding(check, State.OK, there)


def _import_remedy(name: str) -> str:
    if name == "pyodbc":
        return "For SQL Server install unixODBC and Microsoft's ODBC driver 18; SQLite needs neither."
    return f"Install it anew: pip install --force-reinstall {name}"


def _deflate() -> Finding:
    if deflate_is_zlib():
        return Finding("deflate", State.OK, "zlib's own: packed files can be undone and made again")
    remedy = (
        "Patches for here and from here leave packed files packed (profiles -nofold); a Python with zlib ends that."
    )
    return Finding("deflate", State.WARNING, f"{zlib.ZLIB_RUNTIME_VERSION} deflates otherwise than zlib", remedy)


def _codec(name: str, found: str, round_trip: Callable[[bytes], bytes]) -> Finding:
    if round_trip(_SAMPLE) == _SAMPLE:
        return Finding(f"codec {name}", State.OK, f"{found}: a sample came back unchanged")
    return Finding(f"codec {name}", State.FAILED, f"{found}: a sample came back changed", "Install the library anew.")
