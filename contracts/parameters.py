"""What callers put into addresses and headers: a type each, shown by the OpenAPI document and checked by the wrapper.

A value arrives as text. It is read as its type or refused; an empty one counts as absent, as the Functions host
drops it on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, StringConstraints, TypeAdapter, ValidationError
from pydantic import WithJsonSchema as JsonSchema

from contracts.messages import DeviceId
from contracts.refusals import status_of
from imagedelta.errors import RequestError

DEFAULT_LIMIT, MAX_LIMIT = 100, 500

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def _digits(text: object) -> object:
    if isinstance(text, str) and not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("a whole number is written in digits")
    return int(text) if isinstance(text, str) else text


def _moment(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo:
        return value
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("a time is written with its zone, like 2030-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of reach") from error


Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT), BeforeValidator(_digits)]
Continuation = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,2048}$")]
Flag = Literal["true", "false"]
Moment = Annotated[datetime, PlainValidator(_moment), JsonSchema({"type": "string", "format": "date-time"})]
TagFilter = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}=[^\x00-\x1f]{0,256}$")]
Person = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,128}$")]
OnceKey = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,253}[!-~])?$")]
"""Printable ASCII; a header's value neither begins nor ends with a space."""


def one_of(values: Iterable[str]) -> Any:
    """The type of a text that is one of ``values``."""
    return Literal[tuple(values)]


@dataclass(frozen=True)
class Parameter:
    """A value that a caller may give, by name."""

    name: str
    description: str
    type: Any = Text

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.type)

    @property
    def schema(self) -> dict[str, Any]:
        return self._adapter.json_schema()

    def read(self, text: str) -> Any:
        """Raises: RequestError ``request.invalid`` (400) naming the parameter."""
        try:
            return self._adapter.validate_python(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise RequestError(f"{self.name}: {problem}, not {text[:100]!r}", status=status_of(error)) from error


PAGING = (
    Parameter("limit", f"Items of one page, 1 to {MAX_LIMIT}; {DEFAULT_LIMIT} when absent.", Limit),
    Parameter("after", "The `next` of the page before.", Continuation),
)
PATH: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter("deviceId", "As in its IoT hub.", DeviceId),
        Parameter("imageId", "sha256 of the image's config.", Id),
        Parameter("registrationId", "Of the 202 to POST /api/images.", Id),
        Parameter("setId", "Of the 202 to POST /api/deployment-sets.", Id),
        Parameter("transferId", "Of GET /api/transfers.", Id),
    )
}
USER = Parameter("X-ImageDelta-User", "The person that the caller acts for; kept in the audit log.", Person)
ONCE = Parameter("Idempotency-Key", "A repeated request with the same key is answered as the first one.", OnceKey)
