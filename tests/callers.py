"""Callers with tokens of Entra ID, as App Service tells of them in its header."""

from __future__ import annotations

import base64
import json

_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_IDENTITY = "http://schemas.microsoft.com/identity/claims/"
TENANT = "72f988bf-0000-4000-8000-2d7cd011db47"
PERSON = "0b1ec700-0000-4000-8000-00000000ada0"
APPLICATION = "c11e0700-0000-4000-8000-000000000001"

Claims = list[tuple[str, str]]


def header(claims: Claims, auth_typ: str = "aad") -> str:
    """The value of X-MS-CLIENT-PRINCIPAL."""
    told = {
        "auth_typ": auth_typ,
        "claims": [{"typ": kind, "val": value} for kind, value in claims],
        "name_typ": f"{_SOAP}emailaddress",
        "role_typ": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
    }
    return base64.b64encode(json.dumps(told).encode()).decode()


def person(*roles: str, email: str = "ada@example.org") -> Claims:
    """Of an access token that ``az account get-access-token`` got for a person."""
    return [
        ("aud", "api://imagedelta"),
        (f"{_IDENTITY}tenantid", TENANT),
        (f"{_IDENTITY}objectidentifier", PERSON),
        (f"{_SOAP}nameidentifier", "pairwise-subject"),
        (f"{_IDENTITY}scope", "user_impersonation"),
        ("name", "Ada Lovelace"),
        ("preferred_username", "ada@corp.example"),
        *([(f"{_SOAP}emailaddress", email)] if email else []),
        *(("roles", role) for role in roles),
    ]


def session(*roles: str) -> Claims:
    """Of the id token of a browser that signed in: no scopes."""
    return [claim for claim in person(*roles) if not claim[0].endswith("/scope")]


def application(*roles: str) -> Claims:
    """Of a token that a pipeline got by client credentials."""
    return [
        ("aud", "api://imagedelta"),
        (f"{_IDENTITY}tenantid", TENANT),
        (f"{_IDENTITY}objectidentifier", "5e7c1ce0-0000-4000-8000-000000000002"),
        (f"{_SOAP}nameidentifier", "5e7c1ce0-0000-4000-8000-000000000002"),
        ("appid", APPLICATION),
        *(("roles", role) for role in roles),
    ]
