"""The source images of a patch: their configs name its source layers, and its own config is coded against one.

Source: docs/formats/patch.md, section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imagedelta.archives.model import image_from_config
from imagedelta.delta.format import config_text
from imagedelta.delta.format.header import PatchHeader, RebuiltLayer, SourceLayer
from imagedelta.errors import ContentError, LimitExceeded, SourceMissing
from imagedelta.limits import DEFAULT_LIMITS, Limits

FindConfig = Callable[[str], bytes]
"""Image ID → config JSON; raises KeyError when the image is not there."""


@dataclass(frozen=True, slots=True)
class LayerNames:
    """The digests that a patch names by number."""

    sources: tuple[str, ...]
    """diff_id of each source layer."""
    target: tuple[str, ...]
    """diff_id of each layer of the target, lowest first."""


def name_layers(header: PatchHeader, find_config: FindConfig, limits: Limits = DEFAULT_LIMITS) -> LayerNames:
    """Look up the digests of all layers of a patch.

    Raises:
        SourceMissing: "source.missing": a source image is not there; "source.different": its config has other
            bytes than its image ID says.
        ContentError: A source has no layer of that position, or one layer is described in two ways.
    """
    return SourceImages(header, find_config, limits).names()


class SourceImages:
    """Looks up source images, not before they are needed; of each only the list of layers is kept."""

    def __init__(self, header: PatchHeader, find_config: FindConfig, limits: Limits) -> None:
        self._header = header
        self._find_config = find_config
        self._limits = limits
        self._diff_ids: dict[int, tuple[str, ...]] = {}
        self._dictionary_given = False

    def names(self) -> LayerNames:
        """Return the digests of all layers; errors as ``name_layers``."""
        header = self._header
        sources = tuple(map(self._diff_id, header.source_layers))
        target = tuple(
            layer.diff_id if isinstance(layer, RebuiltLayer) else sources[layer.source_layer] for layer in header.layers
        )
        if len(set(target)) != len(set(header.layers)):
            raise ContentError("patch head: one layer is described in two ways")
        return LayerNames(sources, target)

    def dictionary(self, limit: int) -> Iterator[bytes]:
        """Yield the config of the first source, shortened: what the target's own is coded against.

        Raises:
            SourceMissing: As ``name_layers``.
            LimitExceeded: It has more than ``limit`` bytes.
            ContentError: There is no source, or this is not the first frame of the stream.
        """
        if self._dictionary_given:
            raise ContentError("the config of a patch is coded in more than one frame")
        self._dictionary_given = True
        if not self._header.source_image_ids:
            raise ContentError("a patch without sources codes its config against one")
        text = config_text.shorten(self._config(0), self._layers(0))
        if len(text) > limit:
            raise LimitExceeded("the config of the source is longer than the dictionary of the target's")
        yield text

    def _diff_id(self, layer: SourceLayer) -> str:
        diff_ids = self._layers(layer.source)
        if layer.position >= len(diff_ids):
            raise ContentError(f"patch head: layer {layer.position} of a source image with {len(diff_ids)}")
        return diff_ids[layer.position]

    def _layers(self, source: int) -> tuple[str, ...]:
        if source not in self._diff_ids:
            self._diff_ids[source] = image_from_config(self._config(source), limits=self._limits).diff_ids
        return self._diff_ids[source]

    def _config(self, source: int) -> bytes:
        image_id = self._header.source_image_ids[source]
        try:
            config = self._find_config(image_id)
        except KeyError as error:
            raise SourceMissing(f"source image {image_id} is not here") from error
        if "sha256:" + hashlib.sha256(config).hexdigest() != image_id:
            raise SourceMissing(f"the config of source image {image_id} has other bytes", code="source.different")
        return config
