"""About how many bytes a patch between two images will have, from their signatures alone.

A file that the source has costs nothing. A changed one costs a part of its packed size, the less the more like its
old version it is (imagedelta.ranking.changes). Everything else is sent packed. Headers of the members of new layers
come on top. docs/ranking.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from imagedelta.ranking.changes import changes_in
from imagedelta.ranking.source import Source
from imagedelta.ranking.target_files import TargetFiles
from imagedelta.signatures.file_kind import FileKind
from imagedelta.signatures.sampling import priority_of
from imagedelta.signatures.signature import Signature
from imagedelta.signatures.size_code import decode_size

FIXED_BYTES = 450
"""The head of a patch with its config and the tables of its streams."""
_HEADER_BYTES = 0.05
"""Of a tar header that is like one in the source."""
_STAMP_BYTES = 0.75
"""Of the new time in a compiled Python file: a rebuilt layer has one in each."""
_MOST_FILES = 8_000
"""Files of a target that are looked at; of more, the ones of highest priority stand for the others."""


class Target:
    """An image to be sent, compared with one set of sources after the other."""

    def __init__(self, signature: Signature, profile: str) -> None:
        """Args:
        profile: Of the patches.
        """
        self._signature = signature
        self._changes = changes_in(profile)
        self._views: dict[float, TargetFiles] = {}
        self._members = sum(layer.members for layer in signature.layers)
        self._modules = signature.files.kinds.count(FileKind.BYTECODE)
        self._least_threshold = _threshold_for(signature, _MOST_FILES)

    def estimate(self, sources: Sequence[Source]) -> int:
        """Return the estimated bytes of a patch that may use all of ``sources``; none: a full patch."""
        view = self._view(max((source.threshold for source in sources), default=0.0))
        new = sum(
            layer.members for layer in self._signature.layers if not any(layer.diff_id in s.layers for s in sources)
        )
        stamps = _STAMP_BYTES * self._modules * new / max(1, self._members)
        return round(FIXED_BYTES + _HEADER_BYTES * new + stamps + view.bytes_from(sources))

    def _view(self, threshold: float) -> TargetFiles:
        """Return the target as both sides' samples allow; coarse steps, so that few views serve all sources."""
        if threshold > self._least_threshold:
            threshold = 2.0 ** math.ceil(math.log2(threshold))
        else:
            threshold = self._least_threshold
        if threshold not in self._views:
            self._views[threshold] = TargetFiles(self._signature, threshold, self._changes)
        return self._views[threshold]


def _threshold_for(signature: Signature, most: int) -> float:
    """Return the priority above which there are ``most`` files, at least the signature's own threshold."""
    columns = signature.files
    if len(columns) <= most:
        return signature.threshold
    priorities = (priority_of(decode_size(code), key) for key, code in zip(columns.keys, columns.sizes, strict=True))
    return sorted(priorities, reverse=True)[most]
