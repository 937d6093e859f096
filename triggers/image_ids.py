"""Image IDs as people give them: whole, or the first 12 digits and more that lists show."""

from __future__ import annotations

from imagedelta.errors import RequestError
from imagedelta.names import id_prefix
from services.deps import Deps
from triggers.http import not_found

_MOST_NAMED = 5


def known_image_id(text: str, deps: Deps) -> str:
    """Return the ID of the one registered image that ``text`` begins.

    Raises:
        RequestError: ``request.not_found`` (404), or ``request.ambiguous_id`` (409) naming the images.
    """
    prefix = id_prefix(text)
    found = deps.store.images.find_ids(prefix, _MOST_NAMED) if prefix else ()
    if not found:
        raise not_found("image", text[:100])
    if len(found) > 1:
        named = ", ".join(found)
        raise RequestError(f"several images begin with {text}: {named}", code="request.ambiguous_id", status=409)
    return found[0]


def filtered_image_id(text: str | None, deps: Deps) -> str | None:
    """The same for the filter of a list, which an image that is not registered leaves empty."""
    if text is None:
        return None
    try:
        return known_image_id(text, deps)
    except RequestError as error:
        if error.code != "request.not_found":
            raise
        return id_prefix(text) or text
