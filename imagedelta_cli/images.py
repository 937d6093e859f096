"""Image arguments: which archive and which image of it, unpacked so that its layers can be read at random.

An argument is a docker-save tar, an OCI archive or an OCI layout folder; ``PATH#WHICH`` names one of several
images in it, by name (``app:1``), image ID or platform (``linux/arm64``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagedelta.archives import Archive, Image, open_archive
from imagedelta.delta.content import FileReader, ImageContent, LayerContent
from imagedelta.errors import RequestError
from imagedelta.limits import MIB
from imagedelta.signatures import LayerIndex, index_layer
from imagedelta_cli.output import Report

_UNSUPPORTED = ("docker://", "registry://")


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image with its layers in scratch files."""

    image: Image
    content: ImageContent

    @property
    def indexes(self) -> tuple[LayerIndex, ...]:
        """File index of each layer, lowest first."""
        return tuple(layer.index for layer in self.content.layers)


class Unpacker:
    """Unpacks images into a scratch folder; each distinct layer once. Made by ``unpacker``."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        self.folder = folder
        self._exits = exits
        self._layers: dict[str, LayerContent] = {}

    def unpack(self, argument: str, report: Report) -> UnpackedImage:
        """Read an image once, in full; every layer is held against its digest.

        Args:
            report: Called with (bytes unpacked, bytes unpacked): how many there will be is not known.

        Raises:
            ImageDeltaError: The argument names no image, or the archive is refused.
        """
        with open_image(argument, self.folder) as (archive, image):
            layers = []
            done = 0
            for position, diff_id in enumerate(image.diff_ids):
                if diff_id not in self._layers:
                    self._layers[diff_id] = self._unpack_layer(archive, image, position)
                layers.append(self._layers[diff_id])
                done += layers[-1].index.size
                report(done, done)
        return UnpackedImage(image, ImageContent(image.image_id, image.config, image.platform, tuple(layers)))

    def _unpack_layer(self, archive: Archive, image: Image, position: int) -> LayerContent:
        path = self.folder / image.diff_ids[position].removeprefix("sha256:")
        with archive.open_layer(image, position) as stream, path.open("wb") as out:
            index = index_layer(stream, tee=out.write)
        return LayerContent(index, self._exits.enter_context(FileReader(path)))


@contextmanager
def unpacker(scratch: Path | None) -> Iterator[Unpacker]:
    """Yield an Unpacker whose scratch files go away at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="imagedelta-", dir=scratch) as folder, ExitStack() as exits:
        yield Unpacker(Path(folder), exits)


@contextmanager
def open_image(argument: str, scratch: Path) -> Iterator[tuple[Archive, Image]]:
    """Open the archive of an argument and find the image in it.

    Args:
        scratch: Folder where an archive that is packed as a whole is unpacked to.
    """
    path, which = split_argument(argument)
    with tempfile.TemporaryFile(dir=scratch) as unpacked, open_archive(path, scratch=unpacked) as archive:
        yield archive, _choose(archive.images, which, argument)


def split_argument(argument: str) -> tuple[Path, str]:
    """Return path and which image of it, "" when the argument does not say.

    Raises:
        RequestError: Nothing is there, or it is a place images are not read from.
    """
    if argument.startswith(_UNSUPPORTED):
        scheme = argument.partition("//")[0]
        raise RequestError(f"{scheme}// images are unsupported", code="request.unsupported_image")
    if Path(argument).exists():
        return Path(argument), ""
    path, _, which = argument.rpartition("#")
    if not path or not Path(path).exists():
        raise RequestError(f"there is no image archive {argument}", code="request.no_image")
    return Path(path), which


def verified_size(archive: Archive, image: Image, report: Report) -> int:
    """Read every layer to its end, which holds it against its digest; return the bytes of all."""
    total = 0
    for position in range(len(image.diff_ids)):
        with archive.open_layer(image, position) as stream:
            while piece := stream.read(MIB):
                total += len(piece)
                report(total, total)
    return total


def _choose(images: Sequence[Image], which: str, argument: str) -> Image:
    fitting = [image for image in images if not which or which in (image.image_id, image.platform, *image.references)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(image.references[0] if image.references else image.image_id for image in images)
    problem = "holds several such images" if fitting else "holds no such image"
    raise RequestError(f"{argument} {problem}; add #NAME to choose of: {names}", code="request.no_image")
