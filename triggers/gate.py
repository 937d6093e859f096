"""Who is let in: the one check before every operation that is not anonymous.

Which of the two gates stands there follows from whether the platform authenticates (docs/adr/0031). The Functions host
itself holds function keys, and tells a Python app neither the key nor its name; it asks for a key also of who brings a
token. So with platform authentication the routes are anonymous to the host, and this gate alone lets callers in.

Source: azure-functions-host, AuthenticationLevelHandler.cs and issue 11394 (levels and Easy Auth).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from contracts.callers import ON_BEHALF, Caller, Role, parse_principal
from contracts.parameters import USER
from imagedelta.errors import RequestError

PRINCIPAL = "x-ms-client-principal"
KEY = Caller("key", "function-key")


class Gate(Protocol):
    """Tells who calls, or refuses."""

    keys: bool
    """Whether the Functions host itself asks for a key."""

    def admit(self, role: Role, headers: Mapping[str, str]) -> Caller:
        """Args:
            role: What the operation needs.
            headers: Names in lower case.

        Raises: RequestError ``caller.*``.
        """
        ...


class KeyGate:
    """Function keys: the host has held one. ``X-ImageDelta-User`` names the person; headers of tokens count nothing."""

    keys = True

    def admit(self, role: Role, headers: Mapping[str, str]) -> Caller:
        return Caller("key", _named(headers) or KEY.who)


class RoleGate:
    """Tokens of Entra ID, which platform authentication has validated: app roles say what their owner may do."""

    keys = False

    def __init__(self, tenant: str | None = None) -> None:
        self._tenant = tenant

    def admit(self, role: Role, headers: Mapping[str, str]) -> Caller:
        header = headers.get(PRINCIPAL, "")
        if not header:
            raise RequestError("there is no token of Microsoft Entra ID", code="caller.unknown", status=401)
        caller = parse_principal(header, self._tenant)
        require(caller, role)
        if caller.how == "application" and (person := _named(headers)):
            require(caller, ON_BEHALF)
            return Caller(caller.how, person, caller.identity, roles=caller.roles)
        return caller


def require(caller: Caller, role: Role) -> None:
    """Raises: RequestError ``caller.role`` (403)."""
    if not caller.may(role):
        has = ", ".join(sorted(caller.roles)) or "none"
        raise RequestError(f"this needs the role {role}; {caller.who} has {has}", code="caller.role", status=403)


def _named(headers: Mapping[str, str]) -> str:
    text: str = USER.read(headers.get(USER.name.lower(), ""))
    return text.strip()
