"""Entry points of the module: the service, and a few commands for people at the device.

The only place that reads the environment, prints, and handles signals.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from edge_module.damage import DamageLog
from edge_module.device import Device
from edge_module.engines import PresentImage
from edge_module.engines.layout import LayoutEngine
from edge_module.files import DiskFiles, RootLock
from edge_module.hub_choice import open_hub
from edge_module.loading import load_archive
from edge_module.logs import PrintableFormatter
from edge_module.ports import Ports
from edge_module.rebuild import Rebuilder
from edge_module.refused import RefusedFiles
from edge_module.settings import (
    Settings,
    read_settings_file,
    settings_from_environment,
    trusted_keys_from_environment,
)
from edge_module.twin import DesiredState
from imagedelta.errors import DependencyError, ImageDeltaError, RequestError
from imagedelta.names import id_prefix, name_or_none
from imagedelta.printable import printable
from services.blobs_http import BlobContainer
from services.http_bounded import bounded_client

log = logging.getLogger("imagedelta")


class _Stop(BaseException):
    """SIGTERM or SIGINT: raised in the main thread, which only waits for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or wrong content, 2 usage or settings, 3 something did not answer."""
    options = _parser().parse_args(arguments)
    try:
        if options.settings:
            for name, value in read_settings_file(options.settings).items():
                os.environ.setdefault(name, value)
        _configure_logging()
        settings = settings_from_environment(os.environ)
        with RootLock(settings.root):
            return int(options.run(options, settings))
    except ImageDeltaError as error:
        sys.stderr.write(f"{printable(str(error))}\n{error.code}: {error.remedy}\n")
        return _exit_code(error)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    trusted = trusted_keys_from_environment(os.environ)
    files = DiskFiles(settings.root)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    with bounded_client(settings.silence_seconds) as client:
        hub = open_hub(os.environ, client, settings.silence_seconds)
        engine = LayoutEngine(files)
        rebuilds = Rebuilder(files, engine, RefusedFiles(files), settings.reserve_bytes)
        ports = Ports(files, engine, hub, rebuilds, lambda url, query: BlobContainer(client, url, query), trusted)
        device = Device(settings, ports)
        log.info("device %s, images in %s, engine %s", hub.device_id, settings.root, settings.engine)
        with suppress(_Stop):
            device.run(threading.Event(), until_idle=options.until_idle)
    return 0


def _load(options: argparse.Namespace, settings: Settings) -> int:
    files = DiskFiles(settings.root)
    engine = LayoutEngine(files)
    engine.clean()
    _tell(load_archive(options.archive, engine, options.name))
    return 0


def _images(_: argparse.Namespace, settings: Settings) -> int:
    _tell(LayoutEngine(DiskFiles(settings.root)).images())
    return 0


def _tell(images: Iterable[PresentImage]) -> None:
    for image in images:
        sys.stdout.write(printable(f"{image.image_id} {' '.join(image.references)}") + "\n")


def _remove(options: argparse.Namespace, settings: Settings) -> int:
    """Refuses what the cloud wants kept: patches will start from it."""
    files = DiskFiles(settings.root)
    engine = LayoutEngine(files)
    image_id = _image_id(options.image, engine)
    if image_id in DesiredState(files, DamageLog(files)).current.keep_images:
        raise RequestError(f"image {image_id} is among the images to keep", code="device.image_kept")
    engine.remove_image(image_id)
    return 0


def _image_id(text: str, engine: LayoutEngine) -> str:
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
    return parser


def _stop(*_: object) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the module is on its way out, within seconds
    log.info("stopping")
    raise _Stop


def _exit_code(error: ImageDeltaError) -> int:
    if isinstance(error, DependencyError):
        return 3
    return 2 if error.code in ("device.settings", "keys.invalid") else 1


def _configure_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=os.environ.get("IMAGEDELTA_LOG_LEVEL", "INFO").upper(), handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
