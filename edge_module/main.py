"""Entry points of the module: the service, and a few commands for people at the device.

The only place that reads the environment and prints.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_module import service
from edge_module.damage import DamageLog
from edge_module.engines import Engine, PresentImage
from edge_module.engines.opening import open_engine
from edge_module.files import DiskFiles, RootLock
from edge_module.healthy import healthy
from edge_module.loading import load_archive
from edge_module.logs import configure
from edge_module.settings import (
    Settings,
    log_from_environment,
    read_settings_file,
    settings_from_environment,
)
from edge_module.twin import DesiredState
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from imagedelta.names import id_prefix, name_or_none
from imagedelta.printable import printable

_LOCK_SECONDS = 10.0
"""A module that was just killed may take so long to be gone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or wrong content, 2 usage or settings, 3 nothing answered, 4 a part hung."""
    options = _parser().parse_args(arguments)
    try:
        if options.settings:
            for name, value in read_settings_file(options.settings).items():
                os.environ.setdefault(name, value)
        configure(*log_from_environment(os.environ))
        return int(options.run(options, settings_from_environment(os.environ)))
    except ImageDeltaError as error:
        sys.stderr.write(f"{printable(str(error))}\n{error.code}: {error.remedy}\n")
        return _exit_code(error)
    except OSError as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return 3


def _run(options: argparse.Namespace, settings: Settings) -> int:
    with RootLock(settings.root, _LOCK_SECONDS) as lock:
        return service.run(settings, os.environ, lock, until_idle=options.until_idle)


def _rebuild(_: argparse.Namespace, settings: Settings) -> int:
    """Under the lock of the service that started this process."""
    return service.rebuild(settings)


def _healthy(_: argparse.Namespace, settings: Settings) -> int:
    return healthy(settings.root)


def _load(options: argparse.Namespace, settings: Settings) -> int:
    with RootLock(settings.root):
        engine = _engine(settings)
        engine.clean()
        _tell(load_archive(options.archive, engine, options.name))
    return 0


def _images(_: argparse.Namespace, settings: Settings) -> int:
    with RootLock(settings.root):
        _tell(_engine(settings).images())
    return 0


def _tell(images: Iterable[PresentImage]) -> None:
    for image in images:
        sys.stdout.write(printable(f"{image.image_id} {' '.join(image.references)}") + "\n")


def _remove(options: argparse.Namespace, settings: Settings) -> int:
    """Refuses what the cloud wants kept: patches will start from it."""
    with RootLock(settings.root):
        files = DiskFiles(settings.root)
        engine = open_engine(settings, files)
        image_id = _image_id(options.image, engine)
        if image_id in DesiredState(files, DamageLog(files)).current.keep_images:
            raise RequestError(f"image {image_id} is among the images to keep", code="device.image_kept")
        engine.remove_image(image_id)
    return 0


def _engine(settings: Settings) -> Engine:
    return open_engine(settings, DiskFiles(settings.root))


def _image_id(text: str, engine: Engine) -> str:
    """The image that a name, an ID or the first 12 digits of one mean."""
    name, prefix = name_or_none(text), id_prefix(text) or "none"
    found = [each.image_id for each in engine.images() if str(name) in each.references]
    found = found or [each.image_id for each in engine.images() if each.image_id.startswith(prefix)]
    if not found:
        raise RequestError(f"no image {text!r} here", code="device.unknown_image")
    if len(found) > 1:
        raise RequestError(f"several images begin with {text}: {', '.join(found)}", code="request.ambiguous_id")
    return found[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_module", description=__doc__)
    parser.add_argument("--settings", type=Path, metavar="FILE", help="NAME=value lines; the environment goes first")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="fetch, rebuild and report until told to stop")
    run.add_argument("--until-idle", action="store_true", help="end when everything asked for is done and told")
    run.set_defaults(run=_run)
    load = commands.add_parser("load", help="take the images of an archive into the store")
    load.add_argument("archive", type=Path, help="docker-save tar, OCI archive or OCI layout folder")
    load.add_argument("--as", dest="name", metavar="NAME:TAG", help="name for the one image of the archive")
    load.set_defaults(run=_load)
    commands.add_parser("images", help="list the images of the store").set_defaults(run=_images)
    remove = commands.add_parser("remove", help="remove an image that the cloud does not want kept")
    remove.add_argument("image", help="name:tag, image ID or its first 12 digits")
    remove.set_defaults(run=_remove)
    commands.add_parser("healthy", help="say whether the service that runs here works").set_defaults(run=_healthy)
    rebuild = commands.add_parser("rebuild")  # for the service alone: no help, so that no list shows it
    rebuild.add_argument("--parent", type=int)
    rebuild.set_defaults(run=_rebuild)
    return parser


def _exit_code(error: ImageDeltaError) -> int:
    if isinstance(error, DependencyError):
        return 3
    return 2 if error.code in ("device.settings", "keys.invalid") else 1
