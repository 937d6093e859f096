"""Who calls the HTTP interface, and what such a caller may do.

With platform authentication (App Service authentication, "Easy Auth") the platform validates the token of Entra ID and
hands on what it says in the header ``X-MS-CLIENT-PRINCIPAL``: base64 of
``{"auth_typ": "aad", "claims": [{"typ": …, "val": …}], "name_typ": …, "role_typ": …}``. Claims have their short name or
the URI that the platform's claims mapping gives them. A header that a client sends is only taken away while platform
authentication is on: whether it is believed at all is decided in triggers/gate.py.

Source: learn.microsoft.com, "Work with user identities in Azure App Service authentication"; "Access token claims
reference" (idtyp, oid, sub, azp, appid, roles, scp).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from contracts.requests import Email
from imagedelta.errors import RequestError

Role = Literal["read", "deploy", "release", "enrol", "deploy.onbehalf"]
READ: Role = "read"
"""Look at everything. Who has any other role may do that, too."""
DEPLOY: Role = "deploy"
"""Register images, order sets that are released by somebody else, cancel, retry and leave out devices."""
RELEASE: Role = "release"
"""Decide what starts on devices and what a set may cost: release, promote, roll back, approve, rebase."""
ENROL: Role = "enrol"
"""Enrol, retire and replace devices."""
ON_BEHALF: Role = "deploy.onbehalf"
"""Of an application: name the person that it acts for."""
ROLES: frozenset[str] = frozenset({READ, DEPLOY, RELEASE, ENROL, ON_BEHALF})

MAX_HEADER = 64 * 1024
"""Of the principal. Entra ID leaves groups out of a token from 200 on, and web servers bound all headers below this."""
_MAX_CLAIMS = 1000
_MAX_NAME = 128
_IDENTITY_FORM = re.compile(r"[A-Za-z0-9-]{1,48}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_IDENTITY = "http://schemas.microsoft.com/identity/claims/"
_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
_NAMES: Mapping[str, tuple[str, ...]] = {
    "oid": ("oid", f"{_IDENTITY}objectidentifier"),
    "sub": ("sub", f"{_SOAP}nameidentifier"),
    "tid": ("tid", f"{_IDENTITY}tenantid"),
    "scp": ("scp", f"{_IDENTITY}scope"),
    "idtyp": ("idtyp",),
    "application": ("azp", "appid"),
    "display": ("name", f"{_SOAP}name"),
    "login": ("preferred_username", "upn", f"{_SOAP}upn"),
    "email": ("email", f"{_SOAP}emailaddress"),
}
_ROLE_NAMES = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)


@dataclass(frozen=True)
class Caller:
    """Whoever asks.

    Attributes:
        how: ``key`` (a function key, held by the host), ``person`` or ``application`` (a token of Entra ID), or
            ``registry`` (a webhook, by its secret).
        identity: Object id of a person, client id of an application; None for a key, whose name the host keeps.
        who: For people who read the audit log: a person's login, an application's id.
        name: A person's display name.
        email: A person's mail address.
    """

    how: Literal["key", "person", "application", "registry"]
    who: str
    identity: str | None = None
    name: str = ""
    email: str | None = None
    roles: frozenset[str] = frozenset()

    def may(self, role: Role) -> bool:
        """A key opens everything: it is given to few, and per host, not per person."""
        if self.how == "key":
            return True
        return role in self.roles or (role == READ and bool(self.roles))

    @property
    def text(self) -> str:
        """For the audit log: how it was known who this is."""
        return self.how if self.identity is None else f"{self.how} {self.identity}"


def parse_principal(header: str, tenant: str | None = None) -> Caller:
    """Read ``X-MS-CLIENT-PRINCIPAL``.

    Args:
        tenant: The only tenant whose people and applications are known; None for whichever the platform lets in.

    Raises: RequestError ``caller.principal`` (401): not what the platform writes, not of Entra ID, another tenant.
    """
    claims = _claims(_object(header))
    found = {name: _first(claims, kinds) for name, kinds in _NAMES.items()}
    if tenant is not None and found["tid"].lower() != tenant.lower():
        raise _refused("it is of another tenant")
    roles = frozenset(value for kind in _ROLE_NAMES for value in claims.get(kind, ())) & ROLES
    return _application(found, roles) if _is_application(found) else _person(found, roles)


def _is_application(found: Mapping[str, str]) -> bool:
    """``idtyp`` says it where it is asked for. A token that a person got for an application names scopes; in one that
    an application got for itself the object is the subject, too. A browser's session has neither, and a login."""
    if found["idtyp"]:
        return found["idtyp"] == "app"
    if found["scp"]:
        return False
    return not found["login"] or (bool(found["oid"]) and found["oid"] == found["sub"])


def _application(found: Mapping[str, str], roles: frozenset[str]) -> Caller:
    identity = _identity(found["application"] or found["oid"])
    return Caller("application", f"application {identity}", identity, roles=roles)


def _person(found: Mapping[str, str], roles: frozenset[str]) -> Caller:
    identity = _identity(found["oid"])
    who = (found["login"] or found["email"] or found["display"] or identity)[:_MAX_NAME]
    name = (found["display"] or who)[:_MAX_NAME]
    return Caller("person", who, identity, name, _email(found["email"] or found["login"]), roles)


def _identity(text: str) -> str:
    if not _IDENTITY_FORM.fullmatch(text):
        raise _refused("it has no object id and no client id")
    return text


def _email(text: str) -> str | None:
    try:
        return _EMAIL.validate_python(text)
    except ValidationError:
        return None


def _object(header: str) -> Mapping[str, Any]:
    if len(header) > MAX_HEADER:
        raise _refused(f"it is over {MAX_HEADER} characters")
    try:
        found = json.loads(base64.b64decode(header, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:  # ValueError: no base64, no UTF-8, no JSON
        raise _refused("it is not base64 of JSON") from error
    if not isinstance(found, dict):
        raise _refused("it is no JSON object")
    if found.get("auth_typ") != "aad":
        raise _refused("it is not of Microsoft Entra ID")
    return found


def _claims(principal: Mapping[str, Any]) -> dict[str, list[str]]:
    given = principal.get("claims")
    if not isinstance(given, list) or len(given) > _MAX_CLAIMS:
        raise _refused(f"its claims are no list, or more than {_MAX_CLAIMS}")
    claims: dict[str, list[str]] = {}
    for claim in given:
        kind, value = (claim.get("typ"), claim.get("val")) if isinstance(claim, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(value, str):
            raise _refused("a claim is not a pair of texts")
        claims.setdefault(kind, []).append(value)
    return claims


def _first(claims: Mapping[str, list[str]], kinds: Iterable[str]) -> str:
    """The first claim of the kinds, "" without one.

    Raises: RequestError: two of a kind contradict each other, or it holds what breaks lines of logs.
    """
    for kind in kinds:
        values = set(claims.get(kind, ()))
        if len(values) > 1:
            raise _refused(f"it has several claims {kind}")
        if values:
            value = values.pop()
            if _CONTROL.search(value) or len(value) > 1024:
                raise _refused(f"the claim {kind} is no plain text")
            return value.strip()
    return ""


def _refused(why: str) -> RequestError:
    """Says nothing of what was in it."""
    return RequestError(f"X-MS-CLIENT-PRINCIPAL cannot be used: {why}", code="caller.principal", status=401)
