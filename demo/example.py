"""Two versions of a small image to try commands with: ``python -m demo.example app-1.tar app-2.tar``.

Needs neither Docker nor network. Below lies this Python's standard library, the same in both; above it an "app" of the
library's asyncio package. As after any rebuild every file of the second version has another time; some have changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from demo.layers import File, Layer, text_file, write_layer
from imagedelta.archives import image_from_config, write_docker_archive

_EPOCH = 1_700_000_000
_BUILT_LATER = 9 * 86_400
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "__pycache__", "lib2to3", "idlelib"}
_CHANGED_EVERY = 8


def write_example(path: Path, version: int) -> str:
    """Write ``app:<version>`` as ``docker save`` does; return its image ID."""
    with tempfile.TemporaryDirectory(dir=path.absolute().parent) as folder:
        layers = [
            write_layer(_library(), Path(folder, "library.tar"), _EPOCH),
            write_layer(_app(version), Path(folder, "app.tar"), _EPOCH + version * _BUILT_LATER),
        ]
        image = image_from_config(_config(layers), (f"app:{version}",))
        write_docker_archive(path, image, [layer.size for layer in layers], partial(_open_layer, layers))
    return image.image_id


def _library() -> Iterator[File]:
    root = Path(os.__file__).parent
    for path in _sources(root):
        yield File(f"usr/lib/python3/{path.relative_to(root)}", _EPOCH, path.read_bytes)


def _app(version: int) -> Iterator[File]:
    root, built = Path(asyncio.__file__).parent, _EPOCH + version * _BUILT_LATER
    for number, path in enumerate(_sources(root)):
        text = path.read_text("utf-8")
        if version > 1 and number % _CHANGED_EVERY == 0:
            text = text.replace("\nimport ", f"\n# as of version {version}\nimport ", 1) + "\n# reviewed\n"
        yield text_file(f"app/{path.name}", text, built)
    yield text_file("app/version.json", json.dumps({"version": version}) + "\n", built)


def _sources(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.py")) if not _LEFT_OUT & set(path.relative_to(root).parts)]


def _config(layers: Sequence[Layer]) -> bytes:
    document = {
        "architecture": "amd64",
        "config": {"Cmd": ["python3", "-m", "app"], "WorkingDir": "/"},
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _open_layer(layers: Sequence[Layer], position: int) -> BinaryIO:
    return layers[position].path.open("rb")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.example", description=__doc__)
    parser.add_argument("archives", nargs="+", type=Path, metavar="FILE", help="version 1, version 2, …")
    for version, path in enumerate(parser.parse_args().archives, 1):
        print(f"{path}: app:{version}, image {write_example(path, version)[7:19]}")  # noqa: T201


if __name__ == "__main__":
    main()
