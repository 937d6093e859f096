"""Who may read or write: query parameters like those of a service SAS.

``sig`` is base64(HMAC-SHA256(key, "\\n".join([sp, se, sr, container, blob]))); ``blob`` is empty for ``sr=c``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime


class AccessRefused(Exception):
    """The request may not do this; the message says why."""


def sign(key: str, permissions: str, expiry: str, resource: str, container: str, blob: str) -> str:
    """The signature of an access; ``key`` is base64, ``resource`` is ``c`` or ``b``."""
    text = "\n".join([permissions, expiry, resource, container, blob])
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def require(key: str, query: Mapping[str, str], needed: str, container: str, blob: str) -> None:
    """Check that a query opens a container or blob for one of the permissions in ``needed``.

    Raises:
        AccessRefused: No or wrong signature, expired, for something else, or without the permission.
    """
    given = {name: query.get(name, "") for name in ("sp", "se", "sr", "sig")}
    if not all(given.values()):
        raise AccessRefused("the request has no signature: sp, se, sr and sig are needed")
    if given["sr"] not in ("c", "b"):
        raise AccessRefused("sr must be c or b")
    name = blob if given["sr"] == "b" else ""
    expected = sign(key, given["sp"], given["se"], given["sr"], container, name)
    if not hmac.compare_digest(expected.encode(), given["sig"].encode()):
        raise AccessRefused("the signature is wrong, or for something else")
    if _moment(given["se"]) < datetime.now(UTC):
        raise AccessRefused("the signature has expired")
    if not set(needed) & set(given["sp"]):
        raise AccessRefused(f"the signature does not give the permission {needed[0]}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise AccessRefused("se is no ISO 8601 time") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
