"""What an archive turned out to hold: images, and entries that are none or cannot be read.

One entry never refuses the others: beside an image may stand its signature, an attestation, another platform that was
not saved, or an image that was damaged on the way. What was passed over is kept, so that nothing is silent about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from imagedelta.archives.model import Image
from imagedelta.errors import ContentError

_MAX_NAMED = 5


class WholeArchiveError(ContentError):
    """What is wrong concerns the archive, not one of its entries. Its code is its cause's."""


@dataclass(frozen=True, slots=True)
class Located:
    """An image and the names of its layers in the archive, lowest first."""

    image: Image
    layers: tuple[str, ...]
    sizes: tuple[int | None, ...]
    """Bytes of each as the archive keeps it; ``None`` where it does not say."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An entry of the archive that gave no image."""

    entry: str
    """What the archive calls it, else its digest or place."""
    error: ContentError | None
    """Why it cannot be read; ``None`` for what is no image at all."""
    kind: str = ""
    """Of what is no image, its media type."""

    def __str__(self) -> str:
        return f"{self.entry}: {self.error or f'{self.kind}, no image'}"


@dataclass
class Findings:
    """Filled by the readers of the forms, in the archive's order."""

    images: list[Located] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)

    def add(self, located: Located) -> None:
        self.images.append(located)

    def foreign(self, entry: str, kind: str) -> None:
        """Note what is no image: a signature, an attestation, a chart."""
        self.passed_over.append(PassedOver(entry, None, kind[:100]))

    @contextmanager
    def passing_over(self, entry: str) -> Iterator[None]:
        """Note the error of this entry instead of raising it."""
        try:
            yield
        except WholeArchiveError:
            raise
        except ContentError as error:
            self.passed_over.append(PassedOver(entry, error))

    def merged(self) -> dict[str, Located]:
        """One entry per image ID, with all its names."""
        merged: dict[str, Located] = {}
        for located in self.images:
            image = located.image
            known = merged.get(image.image_id)
            if known:
                image = replace(
                    known.image,
                    references=tuple(sorted({*known.image.references, *image.references})),
                    labels=tuple(sorted({*known.image.labels, *image.labels})),
                )
                located = Located(image, known.layers, known.sizes)
            merged[image.image_id] = located
        return merged

    def nothing(self) -> ContentError:
        """The error for an archive without a readable image: what stood in the way of the first one."""
        unreadable = [each.error for each in self.passed_over if each.error]
        if unreadable:
            return unreadable[0]
        if self.passed_over:
            found = "; ".join(map(str, self.passed_over[:_MAX_NAMED]))
            return ContentError(f"the archive holds no image; what it holds: {found}", code="content.not_an_image")
        return ContentError("the archive holds no image", code="content.not_an_image")
