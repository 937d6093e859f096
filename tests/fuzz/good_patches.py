"""Good patches to damage: the stored vectors, and freshly built ones in which every way and coder occurs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from imagedelta.delta.content import ImageContent
from imagedelta.delta.format.profiles import DEFAULT_PROFILE, PROFILES, Profile
from tests.images import BuiltImage, an_image
from tests.unit.delta import tar_kinds as kinds
from tests.unit.delta.patches import a_patch, content_of, layers_of
from tests.unit.delta.second_format import SECOND_FORMAT, everything
from tests.vectors import make
from tests.vectors.raw_patch import RawPatch, laid_open


@dataclass(frozen=True)
class GoodPatch:
    """A patch, what it makes and of what."""

    name: str
    patch: bytes
    target: BuiltImage
    sources: Sequence[BuiltImage]

    @property
    def source_layers(self) -> Mapping[str, bytes]:
        return layers_of(*self.sources)

    @property
    def source_configs(self) -> Mapping[str, bytes]:
        return {source.image_id: source.image.config for source in self.sources}

    def contents(self) -> tuple[ImageContent, list[ImageContent]]:
        """Return target and sources as the cloud holds them."""
        return content_of(self.target), [content_of(source) for source in self.sources]

    def laid_open(self) -> RawPatch:
        return laid_open(self.patch, self.source_layers, self.source_configs)


@cache
def good_patches() -> Sequence[GoodPatch]:
    """Return all of them; the same in every run."""
    stored = [GoodPatch(name, patch, target, sources) for name, (target, sources, patch) in make.good_patches().items()]
    return [*stored, *(_built(*images) for images in _images())]


@cache
def second_format() -> Sequence[GoodPatch]:
    """Return patches of all that is new in the second format, for each of the profiles with 64 MiB."""
    source, target = everything(1), everything(2)
    return [_built(name, target, (source,), PROFILES[name]) for name in SECOND_FORMAT]


def _images() -> list[tuple[str, BuiltImage, tuple[BuiltImage, ...]]]:
    odd = (kinds.odd_numbers, kinds.odd_padding, kinds.pax_paths, kinds.long_gnu_names, kinds.links, kinds.devices)
    again = make.packed({"one": make.text(60), "two": make.noise(300, 9)})
    module = make.pyc(1_600_000_000)
    return [
        ("odd-tars", an_image(*(kind(2) for kind in odd)), (an_image(*(kind(1) for kind in odd)),)),
        ("ends-early", an_image(kinds.sparse_with_blocks(2), kinds.two_tars(2)), (an_image(kinds.two_tars(1)),)),
        ("kept", an_image({"a.zip": again, "b.pyc": module}, {"c.zip": again, "d.pyc": module}), ()),
    ]


def _built(
    name: str, target: BuiltImage, sources: tuple[BuiltImage, ...], profile: Profile = DEFAULT_PROFILE
) -> GoodPatch:
    with tempfile.TemporaryDirectory() as scratch:
        return GoodPatch(name, a_patch(target, *sources, scratch=Path(scratch), profile=profile)[0], target, sources)
