"""The part of the IoT Hub query language that finds twins: ``select * from devices[.modules] [where …]``, or some of
their properties instead of ``*``.

Conditions are joined by ``and``: ``=``, ``!=``, ``<>`` with text, number or boolean, ``in [..]``, ``is_defined(..)``.
Source: learn.microsoft.com/azure/iot-hub, "IoT Hub query language", expressions and conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imagedelta_local.iothub.answers import invalid

Document = dict[str, Any]

_SELECT = re.compile(
    r"\s*select\s+(\*|\w+(?:\s*,\s*\w+)*)\s+from\s+(devices(?:\.modules)?)(?:\s+where\s+(.+?))?\s*", re.I | re.S
)
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.|'')*')|(?P<number>-?\d{1,15}(?:\.\d{1,15})?)|(?P<name>\$?[A-Za-z_$][\w$.\-]*)|(?P<sign><>|!=|=|[\[\](),]))"
)
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\(.)|'(')", re.S)
_MAX_QUERY = 8 << 10


@dataclass(frozen=True)
class Query:
    """What is asked for: twins of ``devices`` or ``devices.modules`` that ``accepts`` lets through."""

    source: str
    accepts: Callable[[Document], bool]
    devices: frozenset[str] | None
    """No other device can be accepted; None when all can."""
    names: tuple[str, ...] | None = None
    """Of the properties that are shown; None for all."""

    def shown(self, twin: Document) -> Document:
        if self.names is None:
            return twin
        return {name: twin[name] for name in self.names if name in twin}


def parse(text: str) -> Query:
    """Read a query.

    Raises:
        HubError: It is not of the form above.
    """
    match = _SELECT.fullmatch(text) if len(text) <= _MAX_QUERY else None
    if match is None:
        raise invalid("only queries of the form 'select * from devices [where ...]' are served")
    names = None if match[1] == "*" else tuple(re.split(r"\s*,\s*", match[1]))
    reader = _Conditions(match[3] or "")
    accepts = reader.accepting() if match[3] else lambda twin: True
    return Query(match[2].lower(), accepts, reader.devices, names)


def parse_condition(text: str) -> Callable[[Document], bool]:
    """Read what may stand behind ``where``.

    Raises:
        HubError: It is not of the form above.
    """
    if len(text) > _MAX_QUERY:
        raise invalid("the condition is too long")
    return _Conditions(text).accepting()


class _Conditions:
    """Reads conditions token by token."""

    def __init__(self, text: str) -> None:
        self.devices: frozenset[str] | None = None
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise invalid(f"the query cannot be read at {text[position : position + 20]!r}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()

    def accepting(self) -> Callable[[Document], bool]:
        conditions = [self._condition()]
        while self._tokens:
            self._expect("and")
            conditions.append(self._condition())
        return lambda twin: all(condition(twin) for condition in conditions)

    def _condition(self) -> Callable[[Document], bool]:
        name = self._take("name")
        if name.lower() == "is_defined":
            self._expect("(")
            path = self._take("name")
            self._expect(")")
            return lambda twin: _value(twin, path) is not None
        kind, word = self._next()
        if word in ("=", "!=", "<>"):
            wanted = self._literal()
            if word == "=":
                self._note_devices(name, [wanted])
            return lambda twin: (_value(twin, name) == wanted) is (word == "=")
        if kind == "name" and word.lower() == "in":
            choices = self._list()
            self._note_devices(name, choices)
            return lambda twin: _value(twin, name) in choices
        raise invalid(f"the query has {word!r} where =, != or in was expected")

    def _note_devices(self, name: str, ids: list[Any]) -> None:
        if name == "deviceId":
            named = frozenset(one for one in ids if isinstance(one, str))
            self.devices = named if self.devices is None else self.devices & named

    def _list(self) -> list[Any]:
        self._expect("[")
        choices = [self._literal()]
        while self._tokens and self._tokens[0][1] == ",":
            self._next()
            choices.append(self._literal())
        self._expect("]")
        return choices

    def _literal(self) -> Any:
        kind, word = self._next()
        if kind == "text":
            return _ESCAPE.sub(_unescaped, word[1:-1])
        if kind == "number":
            return float(word) if "." in word else int(word)
        if word.lower() in ("true", "false"):
            return word.lower() == "true"
        raise invalid(f"the query has {word!r} where a value was expected")

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise invalid("the query ends too early")
        return self._tokens.pop(0)

    def _take(self, kind: str) -> str:
        found, word = self._next()
        if found != kind:
            raise invalid(f"the query has {word!r} where a {kind} was expected")
        return word

    def _expect(self, word: str) -> None:
        if self._next()[1].lower() != word:
            raise invalid(f"the query lacks {word!r}")


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2] or match[3]


def _value(twin: Document, path: str) -> Any:
    value: Any = twin
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
