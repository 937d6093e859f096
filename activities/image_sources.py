"""Where the images of a registration are read: an archive that lies in a blob, or a name in a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from contracts.records import ARCHIVE, Registration
from imagedelta.archives import open_archive
from imagedelta.archives.disk_guard import guarded
from imagedelta.errors import DependencyError, RequestError
from services.deps import Deps
from services.ports import ImageSource

_SETTLING = timedelta(minutes=10)
"""After a push, a replica of the registry in another region may not have the image yet."""


@contextmanager
def open_source(deps: Deps, registration: Registration) -> Iterator[tuple[ImageSource, str]]:
    """Yield the images and where they come from, as ``image_origins`` names it.

    Raises: RequestError when there is no such thing; ContentError for what holds no image; DependencyError.
    """
    if "registry" in registration.origin:
        with _settling(deps, registration):
            yield _open_registry(deps, registration)
        return
    container, name = _blob_of(registration)
    with (
        deps.blobs.open(container, name) as stream,
        tempfile.TemporaryFile() as scratch,
        open_archive(stream, deps.settings.archive_limits, scratch=guarded(scratch)) as archive,
    ):
        yield archive, ARCHIVE


def _blob_of(registration: Registration) -> tuple[str, str]:
    origin = registration.origin
    if "upload" in origin:
        return "intake", origin["upload"]
    container, _, name = origin["blob"].partition("/")
    return container, name


def _open_registry(deps: Deps, registration: Registration) -> tuple[ImageSource, str]:
    reference = registration.origin["registry"]
    name = deps.settings.intake.registry_of(reference).name
    return deps.registries[name].open(reference, _machines(deps, registration)), name


@contextmanager
def _settling(deps: Deps, registration: Registration) -> Iterator[None]:
    """What was just pushed and is not here, manifest or layer, is on its way (github.com/Azure/acr, issue 588)."""
    try:
        yield
    except RequestError as error:
        is_fresh = deps.now() - registration.requested_at < _SETTLING
        if error.code == "request.no_image" and "event" in registration.origin and is_fresh:
            raise DependencyError(f"{error}, which says that it was pushed") from error
        raise


def _machines(deps: Deps, registration: Registration) -> Sequence[Sequence[str]]:
    """What a person says, else what the fleet runs."""
    if registration.platform:
        return [[registration.platform]]
    return [] if deps.settings.intake.all_platforms else deps.store.devices.machines()
