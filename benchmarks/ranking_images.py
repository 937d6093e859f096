"""Images read once for measuring ranking: layers as files, with the file index of each beside it.

Reading and indexing an image takes longer than many a patch, and each image serves in dozens of pairs.
"""

from __future__ import annotations

from pathlib import Path

from imagedelta.archives import Archive, Image, open_archive
from imagedelta.delta import FileReader, ImageContent, LayerContent
from imagedelta.signatures import LayerIndex, Signature, index_layer, sign


class NoImages(Exception):
    """The folder holds no image tars; the message names it."""


class ImageShelf:
    """The images of a folder of tars, each tar holding one."""

    def __init__(self, tars: Path, work: Path) -> None:
        """Args:
        tars: Folder of ``NAME.tar``.
        work: Keeps the layers from run to run; as large as all distinct layers together.

        Raises:
            NoImages: There is no tar.
        """
        self._tars = {tar.stem: tar for tar in sorted(tars.glob("*.tar"))}
        if not self._tars:
            raise NoImages(f"no *.tar in {tars.name}")
        self._work = work
        self._work.mkdir(parents=True, exist_ok=True)
        self._layers: dict[str, LayerContent] = {}
        self._images: dict[str, tuple[Image, ImageContent]] = {}
        self._signatures: dict[str, Signature] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tars without their ending, in order."""
        return tuple(self._tars)

    def content(self, name: str) -> ImageContent:
        """Return an image as the engine takes it."""
        return self._load(name)[1]

    def signature(self, name: str) -> Signature:
        """Return an image's signature as it comes back from storage."""
        if name not in self._signatures:
            image, content = self._load(name)
            stored = sign(image, [layer.index for layer in content.layers]).to_bytes()
            self._signatures[name] = Signature.from_bytes(stored)
        return self._signatures[name]

    def _load(self, name: str) -> tuple[Image, ImageContent]:
        if name not in self._images:
            with open_archive(self._tars[name]) as archive:
                (image,) = archive.images
                layers = tuple(self._layer(archive, image, position) for position in range(len(image.diff_ids)))
            self._images[name] = image, ImageContent(image.image_id, image.config, layers)
        return self._images[name]

    def _layer(self, archive: Archive, image: Image, position: int) -> LayerContent:
        diff_id = image.diff_ids[position]
        if diff_id not in self._layers:
            tar = self._work / diff_id.removeprefix("sha256:")
            index = tar.with_suffix(".index")
            if not index.exists():
                with tar.open("wb") as out, archive.open_layer(image, position) as stream:
                    made = index_layer(stream, tee=out.write)
                index.write_bytes(made.to_bytes())
            self._layers[diff_id] = LayerContent(LayerIndex.from_bytes(index.read_bytes()), FileReader(tar))
        return self._layers[diff_id]
