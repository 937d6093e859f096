"""Which images of an archive a registration takes, and what each is for.

Of growing weight are what an index says of the platform, the image's config, what is registered already, and what the
person who registers it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from contracts.records import ImageRecord, Registration
from imagedelta.archives import Image
from imagedelta.errors import RequestError

Known = Callable[[Sequence[str]], Mapping[str, ImageRecord]]


def chosen_images(images: Sequence[Image], registration: Registration, known: Known) -> tuple[Image, ...]:
    """Return the images with their platforms settled.

    Raises:
        RequestError: ``request.many_images``, ``request.no_platform`` or ``request.no_reference``: a person must
            say more.
    """
    if registration.platform and len(images) > 1:
        raise _many(images, "the platform that was given can be that of one")
    registered = known([image.image_id for image in images])
    chosen = tuple(replace(image, platform=_platform(image, registration, registered)) for image in images)
    for image in chosen:
        _require_platform(image)
        _require_name(image, registration)
    platforms = [image.platform for image in chosen]
    twice = next((platform for platform in platforms if platforms.count(platform) > 1), None)
    if twice:
        raise _many(images, f"more than one is for {twice}")
    return chosen


def _platform(image: Image, registration: Registration, registered: Mapping[str, ImageRecord]) -> str:
    known = registered.get(image.image_id)
    return registration.platform or (known.platform if known else "") or image.platform


def _require_platform(image: Image) -> None:
    if not image.platform:
        raise RequestError(
            f"neither the archive nor the config of {_title(image)} says what machine it is for",
            code="request.no_platform",
        )


def _require_name(image: Image, registration: Registration) -> None:
    """An image without any name may be registered, as a source; one whose name cannot be used was meant to have one."""
    if image.labels and not image.references and not registration.reference:
        raise RequestError(
            f"the archive calls its image {', '.join(map(repr, image.labels))}, which is no NAME:TAG",
            code="request.no_reference",
        )


def _many(images: Sequence[Image], problem: str) -> RequestError:
    listed = "; ".join(f"{_title(image)} for {image.platform or 'an unknown platform'}" for image in images)
    return RequestError(f"the archive holds {len(images)} images ({listed}): {problem}", code="request.many_images")


def _title(image: Image) -> str:
    """All names of an image, else its ID."""
    return " = ".join(image.references or image.labels) or image.image_id[:19]
