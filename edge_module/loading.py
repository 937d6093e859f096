"""Taking the images of an archive into an engine: how a device gets its first images without a link."""

from __future__ import annotations

from pathlib import Path

from edge_module.engines import Engine, PresentImage, Work
from edge_module.engines.unpacked import DEVICE_LIMITS
from imagedelta.archives import Archive, Image, open_archive
from imagedelta.errors import RequestError, UnsupportedFormat
from imagedelta.limits import MIB
from imagedelta.names import spelled


def load_archive(path: Path, engine: Engine, name: str | None = None) -> list[PresentImage]:
    """Load every image of a docker-save tar, OCI archive or layout folder.

    Args:
        name: Given to the archive's only image in place of the names it has.

    Raises:
        RequestError: ``request.invalid``: a name for several images; ``request.image_name``: no name;
            ``request.no_image``: no such archive.
        ContentError: The archive is damaged, or no archive.
    """
    name = None if name is None else spelled(name)
    if not path.exists():
        raise RequestError(f"there is no archive {path}", code="request.no_image")
    try:
        with open_archive(path, DEVICE_LIMITS) as archive:
            if name is not None and len(archive.images) != 1:
                raise RequestError(f"{path} holds {len(archive.images)} images: one name does not fit them")
            return [_load(archive, image, engine, name) for image in archive.images]
    except UnsupportedFormat as error:
        raise UnsupportedFormat(f"{path}: {error}", code=error.code) from error


def _load(archive: Archive, image: Image, engine: Engine, name: str | None) -> PresentImage:
    names = image.references if name is None else (name,)
    sizes = {image.diff_ids[position]: _measure(archive, image, position) for position in range(len(image.diff_ids))}
    with engine.begin(image.image_id, names[0] if names else "", sizes, ()) as work:
        for position, diff_id in enumerate(image.diff_ids):
            if not work.has(diff_id):
                _load_layer(archive, image, position, work, sizes[diff_id])
        present = work.finish(image.config)
    for each in names:
        present = engine.name_image(image.image_id, each)
    return present


def _measure(archive: Archive, image: Image, position: int) -> int:
    """Bytes of the unpacked layer: engines want to know first. A damaged archive is found before anything is kept."""
    with archive.open_layer(image, position) as layer:
        return sum(len(piece) for piece in iter(lambda: layer.read(MIB), b""))


def _load_layer(archive: Archive, image: Image, position: int, work: Work, size: int) -> None:
    diff_id = image.diff_ids[position]
    writer = work.begin(diff_id, size)
    try:
        with archive.open_layer(image, position) as layer:
            while piece := layer.read(MIB):
                writer.write(piece)
    except BaseException:
        work.abort(diff_id)
        raise
    work.commit(diff_id)
