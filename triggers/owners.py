"""Whose a deployment set is: the person that the caller's token names, else whom the caller may name."""

from __future__ import annotations

from contracts.callers import ON_BEHALF, Caller
from contracts.requests import Owner
from imagedelta.errors import RequestError
from triggers.gate import require


def owner_of(caller: Caller, named: Owner | None) -> Owner | None:
    """None when nobody is named and the caller is no person.

    Raises: RequestError ``caller.role`` or ``caller.owner`` (403) for naming somebody whom the caller may not name.
    """
    if caller.how == "person":
        return _person(caller, named)
    if caller.how == "application":
        require(caller, ON_BEHALF)
        if named is None:
            raise RequestError(
                f"{caller.who} is no person: name the owner that it acts for", code="caller.owner", status=403
            )
    return named


def _person(caller: Caller, named: Owner | None) -> Owner | None:
    """An address that the token does not name is the person's to name."""
    email = caller.email or (named.email if named else None)
    if email is None:
        raise RequestError("owner: your token names no mail address: name one")
    if named is not None and named.email.casefold() != email.casefold():
        raise RequestError(
            f"the owner is who signed in, {caller.email}, not {named.email}", code="caller.owner", status=403
        )
    return Owner(name=caller.name, email=email)
