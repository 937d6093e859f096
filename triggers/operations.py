"""What an endpoint is: its path, its methods, and for each what goes in and what comes out.

One table of these (triggers.table) is registered by function_app.py and described by the OpenAPI document,
so neither can forget an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.callers import READ, Role
from contracts.parameters import ONCE, USER, Parameter
from contracts.requests import RequestBody
from contracts.responses import View
from triggers.http import Handler


@dataclass(frozen=True)
class Operation:
    method: str
    handler: Handler
    summary: str
    answers: Mapping[int, type[View] | None]
    """Status -> model of the body; None for a body that is described elsewhere."""
    errors: tuple[int, ...] = ()
    """Statuses of problems, besides those that any operation may answer with."""
    query: tuple[Parameter, ...] = ()
    body: type[RequestBody] | None = None
    body_required: bool = True
    media_types: tuple[str, ...] = ("application/json",)
    """Of the body."""
    media_type: str = "application/json"
    """Of the answer."""
    role: Role = READ
    """What a caller with a token of Entra ID must have; a function key opens every operation."""

    def __post_init__(self) -> None:
        """So that nothing which changes something is open to readers because somebody forgot."""
        if (self.method == "GET") != (self.role == READ):
            raise ValueError(f"{self.method} {self.summary!r} cannot need the role {self.role}")

    @property
    def headers(self) -> tuple[Parameter, ...]:
        if self.method == "GET":
            return ()
        return (USER, ONCE) if self.method == "POST" else (USER,)


@dataclass(frozen=True)
class Resource:
    """One path; the Functions host sees one function for it.

    Of two functions whose routes fit a URL the host takes the one whose name sorts first, so a name with a
    literal segment must sort before one with a parameter in its place.
    Source: azure-functions-host, issue 9876.
    """

    name: str
    path: str
    operations: tuple[Operation, ...]
    anonymous: bool = False

    @property
    def starts_work(self) -> bool:
        return any(operation.method != "GET" for operation in self.operations)
