"""The files of a target that a patch must make, and what they cost with given sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from imagedelta.ranking.changes import Changes, FileFacts, OldVersion
from imagedelta.ranking.source import Source
from imagedelta.signatures.file_kind import FileKind
from imagedelta.signatures.old_versions import Closeness
from imagedelta.signatures.sampling import priority_of
from imagedelta.signatures.signature import Signature
from imagedelta.signatures.size_code import decode_size

_NEW_HEADER_BYTES = 8.0
"""Of the tar header of a file that has no old version."""
_LARGEST, _SPREAD = 200, 100
"""Missing files whose old versions are looked up: so many of the largest, and so many spread over the rest, which
stand for it."""
_RENAMED = 5
"""Files without a namesake, largest first, for which one is looked for by content."""
_KINDS = {kind.value: kind for kind in FileKind}


class TargetFiles:
    """The target's files above a threshold, each weighted for the ones below it, largest first."""

    def __init__(self, signature: Signature, threshold: float, changes: Changes) -> None:
        self._changes = changes
        files = sorted(file_facts(signature, threshold), key=lambda item: -item[1].literal_bytes)
        self._files = dict(files)
        self._wholes = {content: file.literal_bytes + file.weight * _NEW_HEADER_BYTES for content, file in files}
        self._contents = frozenset(self._files)
        self._costs: dict[tuple[int, Closeness], float] = {}
        """Of changes that were looked at: many sources have the same old version."""

    def bytes_from(self, sources: Sequence[Source]) -> float:
        """Return the bytes of all files that no source has, each as a change of its old version, if any."""
        missing = self._contents.difference(*(source.files.contents for source in sources))
        largest_first = list(filter(missing.__contains__, self._files))
        largest, rest = largest_first[:_LARGEST], largest_first[_LARGEST:]
        total = self._bytes_of(largest, sources, renamed=_RENAMED)
        if rest:
            step = math.ceil(len(rest) / _SPREAD)
            spread = rest[step // 2 :: step]
            total += self._bytes_of(spread, sources) / self._whole_bytes_of(spread) * self._whole_bytes_of(rest)
        return total

    def _bytes_of(self, contents: Sequence[int], sources: Sequence[Source], renamed: int = 0) -> float:
        """Return what files cost; for so many without a namesake an old version is looked for by content."""
        total = 0.0
        for content in contents:
            file = self._files[content]
            old = _closest(source.namesake(file) for source in sources)
            if not old and renamed and file.sketch:
                renamed -= 1
                old = _closest(source.alike(file) for source in sources)
            total += self._change(content, old) if old else self._wholes[content]
        return total

    def _whole_bytes_of(self, contents: Sequence[int]) -> float:
        return sum(map(self._wholes.__getitem__, contents))

    def _change(self, content: int, old: OldVersion) -> float:
        change = content, old.closeness
        if change not in self._costs:
            self._costs[change] = self._changes.bytes_of(self._files[content], old)
        return self._costs[change]


def _closest(found: Iterable[OldVersion | None]) -> OldVersion | None:
    return min(filter(None, found), key=attrgetter("closeness"), default=None)


def file_facts(signature: Signature, threshold: float) -> Iterator[tuple[int, FileFacts]]:
    """Yield content and facts of the files above a threshold."""
    columns = signature.files
    places = columns.sketch_places()
    for place, row in enumerate(columns.rows()):
        size = decode_size(row.size_code)
        if priority_of(size, row.key) > threshold:
            weight = max(1.0, threshold / size)
            sketch = frozenset(columns.sketch(place, places))
            yield row.content, FileFacts(row, size, _KINDS.get(row.kind, FileKind.OTHER), weight, sketch)
