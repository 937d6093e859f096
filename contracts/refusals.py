"""Values that a JSON schema lets through and that still mean nothing: told apart from those that contradict it."""

from __future__ import annotations

import re
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

_BEYOND = "beyond_the_schema"


def refuse(text: str, pattern: str, problem: str) -> NoReturn:
    """From a validator: ``text`` is refused, whether or not it fits the ``pattern`` that the document shows."""
    if re.fullmatch(pattern, text):
        raise PydanticCustomError(_BEYOND, "{problem}", {"problem": problem})
    raise ValueError(problem)


def status_of(error: ValidationError) -> int:
    """400 for what contradicts the document, 422 when it is only a meaning that is missing."""
    return 422 if {item["type"] for item in error.errors(include_url=False)} == {_BEYOND} else 400


def first_problem(error: ValidationError) -> tuple[str, str]:
    """Where the first thing that is wrong stands, "" for the whole, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    return ".".join(str(part) for part in first["loc"]), str(first["msg"])
