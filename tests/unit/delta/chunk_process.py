"""Makes one chunk of a build from images in folders, as another process: ``python -m … TARGET SOURCE NUMBER OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

from imagedelta.archives import image_from_config
from imagedelta.delta import FileReader, ImageContent, LayerContent
from imagedelta.delta.encode.build import Build
from imagedelta.delta.format.profiles import DEFAULT_PROFILE
from imagedelta.signatures.index import LayerIndex, index_layer
from tests.images import BuiltImage


def store(built: BuiltImage, folder: Path) -> Path:
    """Write an image's config, and each layer with its index; return the folder."""
    folder.mkdir()
    (folder / "config.json").write_bytes(built.image.config)
    for number, tar in enumerate(built.layers):
        (folder / f"{number}.tar").write_bytes(tar)
        (folder / f"{number}.imdi").write_bytes(index_layer(built.open_layer(number)).to_bytes())
    return folder


def stored(folder: Path) -> ImageContent:
    """Return what ``store`` wrote; the layers are read from their files."""
    image = image_from_config((folder / "config.json").read_bytes())
    layers = [
        LayerContent(
            LayerIndex.from_bytes((folder / f"{number}.imdi").read_bytes()), FileReader(folder / f"{number}.tar")
        )
        for number in range(len(image.diff_ids))
    ]
    return ImageContent(image.image_id, image.config, tuple(layers))


def main(target: str, source: str, number: str, out: str) -> None:
    """Write chunk ``number`` to the file ``out``."""
    build = Build(stored(Path(target)), [stored(Path(source))], DEFAULT_PROFILE, Path(out).parent)
    with Path(out).open("wb") as file:
        build.make_chunk(int(number), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
