"""What a registry wants to see before it answers: the ``WWW-Authenticate`` headers of a 401.

Source: RFC 9110, section 11.6.1 (several challenges in one header, quoted values with commas in them);
distribution, docs/spec/auth/token.md for the parameters of Bearer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a word of RFC 9110's grammar
_PIECE = re.compile(
    rf"""\s*(?:
        (?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))
        |(?P<scheme>{_TOKEN})(?:\s+(?P<token68>[A-Za-z0-9._~+/-]+=*)(?=\s*(?:,|$)))?
        |,
    )\s*""",
    re.VERBOSE,
)
_MAX_HEADER = 16 * 1024


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate."""

    scheme: str
    """In lower case: ``bearer``, ``basic``."""
    parameters: Mapping[str, str]
    """Names in lower case; of a name given twice, the first."""


def read_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all ``WWW-Authenticate`` headers; what cannot be read ends the header it is in."""
    return tuple(challenge for header in headers for challenge in _of_one(header[:_MAX_HEADER]))


def _of_one(header: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(header) and (piece := _PIECE.match(header, position)) and piece.end() > position:
        position = piece.end()
        if piece["scheme"]:
            found.append((piece["scheme"].lower(), {}))
        elif piece["name"] and found:
            found[-1][1].setdefault(piece["name"].lower(), _value(piece))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _value(piece: re.Match[str]) -> str:
    if piece["plain"] is not None:
        return piece["plain"]
    return re.sub(r"\\(.)", r"\1", piece["quoted"])
