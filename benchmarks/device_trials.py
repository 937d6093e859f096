"""Updates of one device, each from a fresh start: a docker pull, and a rebuild with every engine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.device_aboard import Aboard, Stock
from benchmarks.device_figures import DeviceFigure
from benchmarks.device_images import NEW, OLD, Update
from benchmarks.device_meter import Meter
from edge_module.engines import Engine
from edge_module.engines.opening import open_docker_store, open_engine
from edge_module.files import DiskFiles
from edge_module.loading import load_archive
from edge_module.rebuild_process import RebuildProcess, Surroundings
from edge_module.rebuilds import RebuildTask
from edge_module.settings import settings_from_environment
from imagedelta.limits import MIB

_MEMORY_BYTES = 128 * MIB
"""What a module allows a rebuild unless it is told otherwise."""


class Trial(Protocol):
    @property
    def name(self) -> str: ...

    def start(self, stock: Stock) -> Path | None:
        """What the registry holds."""

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        """Bring the device to where the update begins; return what does the update."""

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        """Whether the device has the new image under its name."""


class DockerPull:
    name = "docker pull"

    def start(self, stock: Stock) -> Path:
        return stock.both

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        aboard.pull(OLD)
        return lambda: aboard.pull(NEW)

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        return _is_in_docker(aboard, update)


class Layout:
    name = "layout"

    def start(self, stock: Stock) -> None:
        return None

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        load_archive(stock.archive, _prepared(aboard, "layout"))
        return lambda: _rebuild(aboard, "layout", update)

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        return _is_listed(aboard, "layout", update)


class Registry:
    """``packed``: whether the base was pushed by docker; else an earlier rebuild has stored it."""

    def __init__(self, *, packed: bool) -> None:
        self._packed = packed
        self.name = f"registry, base {'with gzip' if packed else 'unpacked'}"

    def start(self, stock: Stock) -> Path:
        return stock.packed if self._packed else stock.unpacked

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        _prepared(aboard, "registry")
        return lambda: _rebuild(aboard, "registry", update)

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        return _is_listed(aboard, "registry", update)


class RegistryThenDocker:
    """The engine ``registry`` beside a Docker socket: as with docker pull, the image can be started at once."""

    name = "registry, base unpacked, last pull"

    def start(self, stock: Stock) -> Path:
        return stock.unpacked

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        aboard.pull(OLD)
        engine = _prepared(aboard, "registry")
        settings = settings_from_environment({**aboard.environment, "IMAGEDELTA_ENGINE": "registry"})
        store = open_docker_store(settings, DiskFiles(aboard.module), engine)
        assert store is not None  # noqa: S101 - dockerd has answered

        def update_both() -> None:
            _rebuild(aboard, "registry", update)
            store.pulls.pull([update.new.image_id])

        return update_both

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        return _is_listed(aboard, "registry", update) and _is_in_docker(aboard, update)


class Docker:
    """``pulled``: whether the Docker store has the base too; the local registry has it in any case."""

    def __init__(self, *, pulled: bool) -> None:
        self._pulled = pulled
        self.name = f"docker, base in {'the Docker store' if pulled else 'the registry only'}"

    def start(self, stock: Stock) -> Path:
        return stock.packed

    def prepare(self, aboard: Aboard, stock: Stock, update: Update) -> Callable[[], None]:
        if self._pulled:
            aboard.pull(OLD)
        _prepared(aboard, "docker")
        return lambda: _rebuild(aboard, "docker", update)

    def is_done(self, aboard: Aboard, update: Update) -> bool:
        return _is_listed(aboard, "docker", update) and _is_in_docker(aboard, update)


PULL = DockerPull()
TRIALS: tuple[Trial, ...] = (
    Layout(),
    Registry(packed=False),
    Registry(packed=True),
    RegistryThenDocker(),
    Docker(pulled=True),
    Docker(pulled=False),
)


class WrongImage(Exception):
    """An update ended without a word, and the image is not there."""


def measure_all(update: Update, scratch: Path, tell: Callable[[str], None]) -> Iterator[DeviceFigure]:
    """One after the other, docker pull first."""
    stock = Stock(scratch, update, tell)
    for number, trial in enumerate((PULL, *TRIALS)):
        tell(trial.name)
        root = scratch / str(number)
        yield _measured(trial, root, stock, update)
        shutil.rmtree(root, ignore_errors=True)


def _measured(trial: Trial, root: Path, stock: Stock, update: Update) -> DeviceFigure:
    with Aboard(root, trial.start(stock)) as aboard:
        (aboard.module / _inbox_name(update)).write_bytes(update.bundle.data)
        do_update = trial.prepare(aboard, stock, update)
        os.sync()  # what the preparation has written is none of the update's waits
        aboard.new_traffic()
        with Meter(root) as meter:
            do_update()
        asked = aboard.new_traffic()
        if not trial.is_done(aboard, update):
            raise WrongImage(f"{trial.name}: the image is not there")
        is_pull = trial is PULL
        return DeviceFigure(
            name=trial.name,
            seconds=round(meter.seconds, 2),
            requests=asked.requests,
            link_bytes=asked.registry_bytes if is_pull else len(update.bundle.data),
            written_bytes=meter.written_bytes,
            peak_disk_bytes=meter.peak_disk_bytes,
            kept_disk_bytes=meter.kept_disk_bytes,
            memory_bytes=None if is_pull else meter.memory_bytes,
        )


def _prepared(aboard: Aboard, engine_name: str) -> Engine:
    """As a module is that has started and told what it has."""
    engine = _engine(aboard, engine_name)
    engine.clean()
    engine.images()
    return engine


def _rebuild(aboard: Aboard, engine_name: str, update: Update) -> None:
    """As the service does it: a child rebuilds, then the image gets its name."""
    environment = {**aboard.environment, "IMAGEDELTA_ENGINE": engine_name}
    task = RebuildTask(_inbox_name(update), update.bundle.head, NEW, _MEMORY_BYTES)
    image = RebuildProcess(Surroundings(environment), lambda: None).rebuild(task, lambda: None)
    _engine(aboard, engine_name).name_image(image.image_id, NEW)


def _inbox_name(update: Update) -> str:
    return f"inbox/{update.bundle.name}"


def _engine(aboard: Aboard, engine_name: str) -> Engine:
    settings = settings_from_environment({**aboard.environment, "IMAGEDELTA_ENGINE": engine_name})
    return open_engine(settings, DiskFiles(aboard.module))


def _is_listed(aboard: Aboard, engine_name: str, update: Update) -> bool:
    images = _engine(aboard, engine_name).images()
    return any(image.image_id == update.new.image_id and NEW in image.references for image in images)


def _is_in_docker(aboard: Aboard, update: Update) -> bool:
    told = aboard.dockerd.docker("image", "inspect", "-f", "{{.Id}}", aboard.name_here(NEW))
    return told.strip() == update.new.image_id
