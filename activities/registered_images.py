"""Which images of its source a registration takes, and what each is for.

Of growing weight are what an index says of the platform, the image's config, what is registered already, and what the
person who registers it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from contracts.records import ImageRecord, Registration
from imagedelta.archives.model import Image, require_told, title_of
from imagedelta.errors import RequestError

Known = Callable[[Sequence[str]], Mapping[str, ImageRecord]]


def chosen_images(images: Sequence[Image], registration: Registration, known: Known) -> tuple[Image, ...]:
    """Return the images with their platforms and names settled.

    Raises:
        RequestError: ``request.many_images``, ``request.no_platform`` or ``request.no_reference``: a person must
            say more.
    """
    if registration.platform and len(images) > 1:
        raise _many(images, "the platform that was given can be that of one")
    registered = known([image.image_id for image in images])
    names = (registration.reference,) if registration.reference else None
    chosen = tuple(
        replace(image, platform=_platform(image, registration, registered), references=names or image.references)
        for image in images
    )
    for image in chosen:
        require_told(image)
    platforms = [image.platform for image in chosen]
    twice = next((platform for platform in platforms if platforms.count(platform) > 1), None)
    if twice:
        raise _many(images, f"more than one is for {twice}")
    return chosen


def _platform(image: Image, registration: Registration, registered: Mapping[str, ImageRecord]) -> str:
    known = registered.get(image.image_id)
    return registration.platform or (known.platform if known else "") or image.platform


def _many(images: Sequence[Image], problem: str) -> RequestError:
    listed = "; ".join(f"{title_of(image)} for {image.platform or 'an unknown platform'}" for image in images)
    return RequestError(f"it holds {len(images)} images ({listed}): {problem}", code="request.many_images")
