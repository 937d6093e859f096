"""Expressions of Azure Pipelines, as they stand in ``${{ }}``, ``$[ ]`` and conditions: read and worked out.

Source: learn.microsoft.com, "Expressions" of Azure Pipelines: literals, functions, type casting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class PipelineError(Exception):
    """What Azure Pipelines would refuse, or what must not stand in our YAML."""


@dataclass(frozen=True)
class Literal:
    value: Any


@dataclass(frozen=True)
class Name:
    """``parameters``, ``variables``, ``dependencies``, …: the beginning of a path."""

    text: str


@dataclass(frozen=True)
class Index:
    of: Node
    key: Node


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Node, ...]


Node = Literal | Name | Index | Call
Context = Mapping[str, Any]

_TOKENS = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)*)|(?P<word>[A-Za-z_][\w-]*)|(?P<sign>[()\[\],.]))"
)
STATUS = frozenset({"succeeded", "failed", "succeededorfailed", "always", "canceled"})
"""Functions that conditions alone may ask; the context answers them."""


def parse(text: str) -> Node:
    """Raises: PipelineError where Azure Pipelines would not understand it."""
    parser = _Parser(text)
    node = parser.expression()
    parser.end()
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read())
        self._at = 0

    def _read(self) -> Iterator[tuple[str, str]]:
        at = 0
        text = self._text.rstrip()
        while at < len(text):
            found = _TOKENS.match(text, at)
            if not found:
                raise PipelineError(f"{self._text!r} cannot be read from {text[at:]!r} on")
            at = found.end()
            kind = str(found.lastgroup)
            yield kind, found[kind]

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self, wanted: str = "") -> tuple[str, str]:
        token = self._next()
        if (wanted and token[1] != wanted) or token[0] == "end":
            raise PipelineError(f"{self._text!r}: {token[1] or 'its end'} where {wanted or 'a value'} is expected")
        self._at += 1
        return token

    def end(self) -> None:
        if self._next()[0] != "end":
            raise PipelineError(f"{self._text!r}: {self._next()[1]} is left over")

    def expression(self) -> Node:
        kind, text = self._take()
        if kind == "string":
            return Literal(text[1:-1].replace("''", "'"))
        if kind == "number":
            return Literal(float(text) if "." in text else int(text))
        if kind != "word":
            raise PipelineError(f"{self._text!r}: {text} where a value is expected")
        if text.lower() in ("true", "false"):
            return Literal(text.lower() == "true")
        if self._next()[1] == "(":
            return self._path(self._call(text))
        return self._path(Name(text))

    def _call(self, name: str) -> Node:
        self._take("(")
        arguments: list[Node] = []
        while self._next()[1] != ")":
            if arguments:
                self._take(",")
            arguments.append(self.expression())
        self._take(")")
        known = _FUNCTIONS.get(name.lower())
        if known is None and name.lower() not in STATUS:
            raise PipelineError(f"{self._text!r}: there is no function {name}")
        if known and not known[0] <= len(arguments) <= known[1]:
            raise PipelineError(f"{self._text!r}: {name} takes {known[0]} to {known[1]} values, not {len(arguments)}")
        return Call(name.lower(), tuple(arguments))

    def _path(self, node: Node) -> Node:
        while self._next()[1] in (".", "["):
            if self._take()[1] == ".":
                kind, text = self._take()
                if kind != "word":
                    raise PipelineError(f"{self._text!r}: {text} is no name")
                node = Index(node, Literal(text))
            else:
                node = Index(node, self.expression())
                self._take("]")
        return node


def paths(node: Node) -> Iterator[tuple[str, ...]]:
    """Every path that an expression asks for: ``a.b['c']`` as ("a", "b", "c")."""
    match node:
        case Index():
            if path := _path_of(node):
                yield path
            else:
                yield from paths(node.of)
                yield from paths(node.key)
        case Name():
            yield (node.text,)
        case Call():
            for argument in node.arguments:
                yield from paths(argument)


def calls(node: Node) -> Iterator[str]:
    """Every function that an expression calls."""
    if isinstance(node, Call):
        yield node.function
        for argument in node.arguments:
            yield from calls(argument)
    elif isinstance(node, Index):
        yield from calls(node.of)


def _path_of(node: Node) -> tuple[str, ...] | None:
    if isinstance(node, Name):
        return (node.text,)
    if isinstance(node, Index) and isinstance(node.key, Literal):
        before = _path_of(node.of)
        return (*before, str(node.key.value)) if before else None
    return None


def evaluate(text: str | Node, context: Context) -> Any:
    """Args:
    context: What names stand for, and a callable for each status function that may be asked.

    Raises: PipelineError for a name that is not there; what is not in a mapping is null, as in Azure Pipelines.
    """
    node = parse(text) if isinstance(text, str) else text
    match node:
        case Literal():
            return node.value
        case Name():
            if node.text not in context:
                raise PipelineError(f"{node.text} cannot be asked here")
            return context[node.text]
        case Index():
            return _look(evaluate(node.of, context), evaluate(node.key, context))
        case Call(function, arguments) if function in STATUS:
            if function not in context:
                raise PipelineError(f"{function}() cannot be asked here")
            return context[function](*(evaluate(argument, context) for argument in arguments))
        case Call("iif", (asked, yes, no)):
            return evaluate(yes if truth(evaluate(asked, context)) else no, context)
        case Call(function, arguments):
            return _FUNCTIONS[function][2](*(evaluate(argument, context) for argument in arguments))


def _look(of: Any, key: Any) -> Any:
    if isinstance(of, Mapping):
        found = {str(name).lower(): value for name, value in of.items()}
        return found.get(str(key).lower())
    if isinstance(of, list) and isinstance(key, int):
        return of[key] if 0 <= key < len(of) else None
    return None


def truth(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return True
    return bool(value)


def text_of(value: Any) -> str:
    """As it stands in a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, (list, dict)):
        raise PipelineError(f"{value!r} cannot be put into a text")
    return str(value)


def _same(left: Any, right: Any) -> bool:
    """The right is cast to what the left is; texts are the same whatever their case."""
    if isinstance(left, bool):
        return left == truth(right)
    if isinstance(left, (int, float)):
        try:
            return float(left) == float(text_of(right))
        except ValueError:
            return False
    if left is None:
        return right in (None, "")
    return text_of(left).lower() == text_of(right).lower()


def _number(value: Any) -> float:
    try:
        return float(text_of(value))
    except ValueError as error:
        raise PipelineError(f"{value!r} is no number") from error


def _format(form: str, *values: Any) -> str:
    return re.sub(r"\{(\d+)\}", lambda found: text_of(values[int(found[1])]), form)


def _contains(where: Any, what: Any) -> bool:
    return text_of(what).lower() in text_of(where).lower()


def _contains_value(where: Any, what: Any) -> bool:
    values = where.values() if isinstance(where, Mapping) else where
    return any(_same(value, what) for value in values)


def _join(between: str, values: Sequence[Any]) -> str:
    return between.join(map(text_of, values)) if isinstance(values, list) else text_of(values)


_MANY = 255
_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "and": (2, _MANY, lambda *values: all(map(truth, values))),
    "or": (2, _MANY, lambda *values: any(map(truth, values))),
    "not": (1, 1, lambda value: not truth(value)),
    "xor": (2, 2, lambda left, right: truth(left) != truth(right)),
    "eq": (2, 2, _same),
    "ne": (2, 2, lambda left, right: not _same(left, right)),
    "gt": (2, 2, lambda left, right: _number(left) > _number(right)),
    "ge": (2, 2, lambda left, right: _number(left) >= _number(right)),
    "lt": (2, 2, lambda left, right: _number(left) < _number(right)),
    "le": (2, 2, lambda left, right: _number(left) <= _number(right)),
    "in": (1, _MANY, lambda value, *values: any(_same(value, other) for other in values)),
    "notin": (1, _MANY, lambda value, *values: not any(_same(value, other) for other in values)),
    "contains": (2, 2, _contains),
    "containsvalue": (2, 2, _contains_value),
    "startswith": (2, 2, lambda text, start: text_of(text).lower().startswith(text_of(start).lower())),
    "endswith": (2, 2, lambda text, end: text_of(text).lower().endswith(text_of(end).lower())),
    "coalesce": (2, _MANY, lambda *values: next((value for value in values if value not in (None, "")), "")),
    "format": (1, _MANY, _format),
    "join": (2, 2, _join),
    "lower": (1, 1, lambda text: text_of(text).lower()),
    "upper": (1, 1, lambda text: text_of(text).upper()),
    "replace": (3, 3, lambda text, old, new: text_of(text).replace(text_of(old), text_of(new))),
    "split": (2, 2, lambda text, between: text_of(text).split(text_of(between))),
    "trim": (1, 1, lambda text: text_of(text).strip()),
    "length": (1, 1, len),
    "iif": (3, 3, lambda *_: None),
    "converttojson": (1, 1, lambda value: json.dumps(value, indent=2)),
}
