"""An identity that the storage account believes: tokens of Entra ID as Azurite takes them, with no signature.

Source: Azurite 3.37, BlobTokenAuthenticator.authenticateBasic: nbf, exp and iat are held, the issuer begins with
https://sts.windows.net/, the audience is https://storage.azure.com; oid and tid go into a user delegation key.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from azure.core.credentials import AccessToken


def storage_token(lifetime: int = 3600) -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + lifetime,
        "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
        "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
    }
    return f"{_part({'typ': 'JWT', 'alg': 'none'})}.{_part(claims)}."


class StorageIdentity:
    """An azure.core TokenCredential."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://storage.azure.com/.default",)
        return AccessToken(storage_token(), int(time.time()) + 3600)


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
