"""Image arguments: which archive and which image of it, unpacked so that its layers can be read at random.

An argument is a docker-save tar, an OCI archive or an OCI layout folder, where ``PATH#WHICH`` names one of several
images by name (``app:1``), image ID or its first 12 digits, or platform (``linux/arm64``); or
``docker://NAME[#PLATFORM]``, an image of the Docker daemon; or
``registry://HOST[:PORT]/REPOSITORY[:TAG|@DIGEST][#PLATFORM]``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from imagedelta.archives import Archive, Image, open_archive
from imagedelta.archives.disk_guard import guarded
from imagedelta.delta.content import FileReader, ImageContent, LayerContent, LayerReader
from imagedelta.errors import RequestError
from imagedelta.limits import MIB
from imagedelta.names import id_prefix, name_or_none
from imagedelta.platforms import best_of, parse_platform
from imagedelta.signatures import LayerIndex, index_layer
from imagedelta_cli.files import scratch_folder
from imagedelta_cli.options import insecure_registries, limits_given
from imagedelta_cli.output import Counter, progress
from imagedelta_cli.sources.credentials import DockerLogins
from imagedelta_cli.sources.registry_image import Access, open_registry_image
from imagedelta_registry.names import DOCKER, REGISTRY, host_of, is_loopback, parse_registry_name

_Layer = TypeVar("_Layer")


class LayerSource(Protocol):
    """Where the layers of one or more images come from: an archive, a registry."""

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        """Return a layer as an uncompressed tar that proves its diff_id when it is read to its end."""


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
        self._plain: dict[str, LayerReader] = {}

    def unpack(self, argument: str) -> UnpackedImage:
        """Read an image once, in full; every layer is held against its digest, and none is fetched twice.

        Raises:
            ImageDeltaError: The argument names no image, or what is there is refused.
        """
        image = self._read(argument, self._layers, self._described)
        layers = tuple(self._layers[diff_id] for diff_id in image.diff_ids)
        return UnpackedImage(image, ImageContent(image.image_id, image.config, layers))

    def unpack_plain(self, argument: str) -> tuple[Image, dict[str, LayerReader]]:
        """Read an image as ``unpack`` does, without describing its layers: applying needs no index, and memory is dear.

        Returns:
            The image, and readers of its layers by diff_id.
        """
        image = self._read(argument, self._plain, self._copied)
        return image, {diff_id: self._plain[diff_id] for diff_id in image.diff_ids}

    def _read(
        self, argument: str, known: dict[str, _Layer], take: Callable[[BinaryIO, Path, Counter], _Layer]
    ) -> Image:
        """Unpack the layers of an image that are not known yet."""
        with open_image(argument, self.folder) as (source, image), progress(f"Reading {argument}") as report:
            count = Counter(report)
            for position, diff_id in enumerate(image.diff_ids):
                if diff_id not in known:
                    with source.open_layer(image, position) as stream:
                        known[diff_id] = take(stream, self.folder / diff_id.removeprefix("sha256:"), count)
        return image

    def _described(self, stream: BinaryIO, path: Path, count: Counter) -> LayerContent:
        with path.open("wb") as file:
            out = guarded(file)
            index = index_layer(stream, tee=lambda piece: count.add(out.write(piece)))
        return LayerContent(index, self._exits.enter_context(FileReader(path)))

    def _copied(self, stream: BinaryIO, path: Path, count: Counter) -> LayerReader:
        with path.open("wb") as file:
            out = guarded(file)
            while piece := stream.read(MIB):
                count.add(out.write(piece))
        return self._exits.enter_context(FileReader(path))


@contextmanager
def unpacker(scratch: Path | None) -> Iterator[Unpacker]:
    """Yield an Unpacker whose scratch files go away at the end, whatever happens."""
    with scratch_folder(scratch) as folder, ExitStack() as exits:
        yield Unpacker(folder, exits)


@contextmanager
def open_image(argument: str, scratch: Path) -> Iterator[tuple[LayerSource, Image]]:
    """Find the image of an argument, and where its layers come from.

    Args:
        argument: See this module.
        scratch: Folder for what cannot be read where it is: a tar that is packed as a whole, what a daemon sends.
            Nothing stays there.
    """
    if argument.startswith(REGISTRY):
        with open_registry_image(parse_registry_name(argument), registry_access(), limits_given()) as opened:
            yield opened
    elif argument.startswith(DOCKER):
        with _open_docker(argument, scratch) as opened:
            yield opened
    else:
        path, which = _split(argument)
        with (
            tempfile.TemporaryFile(dir=scratch) as unpacked,
            open_archive(path, limits_given(), scratch=guarded(unpacked)) as archive,
        ):
            yield archive, _choose(archive, which, argument)


def local_file(argument: str) -> Path | None:
    """The file that an argument names; ``None`` for a folder, a daemon's image or a registry's.

    Raises:
        RequestError: ``request.no_image``: it names nothing that is there.
    """
    if argument.startswith((DOCKER, REGISTRY)):
        return None
    path, _ = _split(argument)
    return path if path.is_file() else None


def verified_size(source: LayerSource, image: Image) -> int:
    """Read every layer to its end, which holds it against its digest; return the bytes of all."""
    with progress("Reading layers") as report:
        count = Counter(report)
        for position in range(len(image.diff_ids)):
            with source.open_layer(image, position) as stream:
                while piece := stream.read(MIB):
                    count.add(len(piece))
    return count.total


@contextmanager
def _open_docker(argument: str, scratch: Path) -> Iterator[tuple[LayerSource, Image]]:
    try:
        from imagedelta_cli.sources.daemon import choose_saved, save_image  # Docker's SDK is an extra
    except ModuleNotFoundError as error:
        raise RequestError(f"docker:// needs the library {error.name}", code="cli.library_missing") from error

    name, _, platform = argument.removeprefix(DOCKER).partition("#")
    wanted = parse_platform(platform) if platform else ""
    if not name:
        raise RequestError(f"{argument} names no image", code="request.no_image")
    with tempfile.TemporaryFile(dir=scratch) as saved:
        with progress(f"Fetching {argument}") as report:
            diff_ids = save_image(name, saved, report)
        with open_archive(saved, limits_given()) as archive:
            yield archive, choose_saved(archive.images, diff_ids, wanted, name)


def registry_access() -> Access:
    """How this person reaches registries: logins that Docker keeps, and what --insecure-registry named."""
    insecure = insecure_registries()
    return Access(
        login_for=DockerLogins().login_for,
        may_be_plain=lambda address: is_loopback(address) or not insecure.isdisjoint((address, host_of(address))),
    )


def _split(argument: str) -> tuple[Path, str]:
    """Return path and which image of it, "" when the argument does not say."""
    if Path(argument).exists():
        return Path(argument), ""
    path, _, which = argument.rpartition("#")
    if not path or not Path(path).exists():
        raise RequestError(f"there is no image archive {argument}", code="request.no_image")
    return Path(path), which


def _choose(archive: Archive, which: str, argument: str) -> Image:
    """Find the image that ``which`` means: a name, an image ID or 12 digits of it, or a platform."""
    images = archive.images
    fitting = [image for image in images if _means(which, image)] if which else images
    if not fitting:
        fitting = _for_platform(images, which)
    if len(fitting) == 1:
        return fitting[0]
    problem = "holds several such images" if fitting else "holds no such image"
    unreadable = [str(over) for over in archive.passed_over if over.error]
    told = f"{argument} {problem}; add #NAME, #ID or #PLATFORM to choose of: {'; '.join(map(_title, images))}"
    if unreadable:
        told += f"; not readable: {'; '.join(unreadable)}"
    raise RequestError(told, code="request.no_image")


def _means(which: str, image: Image) -> bool:
    prefix = id_prefix(which)
    return str(name_or_none(which)) in image.references or bool(prefix and image.image_id.startswith(prefix))


def _for_platform(images: Sequence[Image], which: str) -> list[Image]:
    try:
        wanted = best_of([parse_platform(which)], filter(None, (image.platform for image in images)))
    except RequestError:
        return []
    return [image for image in images if wanted and image.platform == wanted]


def _title(image: Image) -> str:
    """All names of an image, its ID as lists show it, and its platform."""
    names = " = ".join((*image.references, *image.labels))
    digits = image.image_id.removeprefix("sha256:")[:12]
    return f"{names or 'unnamed'} ({digits}, {image.platform or 'platform unknown'})"
