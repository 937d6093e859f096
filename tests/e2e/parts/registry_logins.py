"""Who may enter a registry: the variables by which docker-registry asks for a login, Basic or with a token.

Source: distribution, docs/configuration.md, sections auth and "Override specific configuration options".
"""

from __future__ import annotations

from pathlib import Path

from tests.e2e.parts.token_server import ISSUER, SERVICE, TokenServer

USER, PASSWORD = "ann", "a password"
_BCRYPT = "$2y$05$y1zG8HlG5G8NlE7OBsLnAer0yqJZPkXLFb5TBtFFKLw2TQLlrq2b2"
"""Of ``PASSWORD``; the only form that docker-registry takes."""


def basic(folder: Path) -> dict[str, str]:
    """It asks for ``USER`` and ``PASSWORD`` itself."""
    users = folder / "users"
    users.write_text(f"{USER}:{_BCRYPT}\n")
    return {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "registry",
        "REGISTRY_AUTH_HTPASSWD_PATH": str(users),
    }


def bearer(tokens: TokenServer) -> dict[str, str]:
    """It sends whoever comes to ``tokens``."""
    return {
        "REGISTRY_AUTH": "token",
        "REGISTRY_AUTH_TOKEN_REALM": tokens.realm,
        "REGISTRY_AUTH_TOKEN_SERVICE": SERVICE,
        "REGISTRY_AUTH_TOKEN_ISSUER": ISSUER,
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": str(tokens.bundle),
    }
