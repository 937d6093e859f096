"""Route templates of ASP.NET: literals, parameters with constraints, defaults and optional ends, ``{*rest}``.

aiohttp and Werkzeug choose the most specific of all routes; the Functions host takes the first that matches in the
order of function names. So each template is matched by itself here, and the order is in imagedelta_host.routes.

Source: ASP.NET Core "Route templates" and "Route constraint reference".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from imagedelta_host.errors import AppInvalid

Constraint = Callable[[str], bool]

_NAME = re.compile(r"(\*{0,2})([^{}/*?:=]+)")
_GUID = re.compile(r"[({]?[0-9a-f]{8}(-?)(?:[0-9a-f]{4}\1){3}[0-9a-f]{12}[)}]?", re.IGNORECASE)
_MAX_NUMBER = 24
_GREEDY = "([^/]+)"


@dataclass(frozen=True)
class Parameter:
    """One parameter; ``default`` is ``None`` without one, ``is_rest`` takes the rest of the path."""

    name: str
    constraints: tuple[Constraint, ...]
    default: str | None
    is_optional: bool
    is_rest: bool

    @property
    def may_be_missing(self) -> bool:
        """Whether a path may end before it."""
        return self.is_optional or self.is_rest or self.default is not None


class RouteTemplate:
    """A template, compiled."""

    def __init__(self, template: str) -> None:
        """Compile it.

        Raises:
            AppInvalid: Braces that are not a parameter, a name twice, or a constraint that is not known.
        """
        self.text = template.strip("/")
        self._parameters: list[Parameter] = []
        try:
            self._pattern = re.compile(self._compile(), re.IGNORECASE | re.DOTALL)
        except ValueError as error:
            raise AppInvalid(f"the route {template!r} {error}") from error

    def _compile(self) -> str:
        segments = [list(_parts(segment)) for segment in _split(self.text)]
        names = [part.name.lower() for parts in segments for part in parts if isinstance(part, Parameter)]
        if len(set(names)) < len(names):
            raise ValueError("has a parameter twice")
        pattern = ""
        for number, parts in enumerate(segments):
            text = ("/" if number else "") + self._segment(parts)
            ends = all(len(rest) == 1 and _may_be_missing(rest[0]) for rest in segments[number:])
            pattern += f"(?:{text})?" if ends else text
        return pattern

    def _segment(self, parts: list[str | Parameter]) -> str:
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += re.escape(part)
                continue
            self._parameters.append(part)
            if part.is_optional and part is parts[-1] and text.endswith(r"\."):
                # {file}.{ext?}: the last dot goes with what follows it
                stem = text[:-2]
                if stem.endswith(_GREEDY):
                    stem = stem.removesuffix(_GREEDY) + "([^/]+?)"
                text = stem + r"(?:\.([^/.]+))?"
            else:
                text += "(.*)" if part.is_rest else _GREEDY
        return text

    def match(self, path: str) -> dict[str, str] | None:
        """Parameters of a percent-encoded path without its first slash; ``None`` when it does not match."""
        found = self._pattern.fullmatch(_decoded(path))
        if found is None:
            return None
        values: dict[str, str] = {}
        for parameter, raw in zip(self._parameters, found.groups(), strict=True):
            value = raw or parameter.default
            if value is None:
                continue
            if not all(holds(value) for holds in parameter.constraints):
                return None
            values[parameter.name] = value
        return values


def _decoded(raw: str) -> str:
    """As ASP.NET decodes a path: an encoded slash stays as it is."""
    return unquote(re.sub("%2f", "%252F", raw, flags=re.IGNORECASE))


def _may_be_missing(part: str | Parameter) -> bool:
    return isinstance(part, Parameter) and part.may_be_missing


def _split(text: str) -> Iterator[str]:
    """The segments of a template; a slash inside braces, as in a regular expression, parts nothing."""
    begin = depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "/" and depth <= 0:
            yield text[begin:position]
            begin = position + 1
    if text:
        yield text[begin:]


def _parts(segment: str) -> Iterator[str | Parameter]:
    """Literals and parameters of one segment; ``{{`` and ``}}`` are braces that are meant so."""
    literal, position = "", 0
    while position < len(segment):
        if segment[position : position + 2] in ("{{", "}}"):
            literal, position = literal + segment[position], position + 2
        elif segment[position] == "{":
            end = _closing(segment, position)
            if literal:
                yield literal
            yield _parameter(segment[position + 1 : end].replace("{{", "{").replace("}}", "}"))
            literal, position = "", end + 1
        elif segment[position] == "}":
            raise ValueError("has braces that are not a parameter")
        else:
            literal, position = literal + segment[position], position + 1
    if literal:
        yield literal


def _closing(segment: str, begin: int) -> int:
    """Where the parameter ends that begins with a brace; doubled braces inside are escaped ones."""
    position = begin + 1
    while position < len(segment):
        if segment[position : position + 2] in ("{{", "}}"):
            position += 2
        elif segment[position] == "}":
            return position
        else:
            position += 1
    raise ValueError("has braces that are not a parameter")


def _parameter(text: str) -> Parameter:
    found = _NAME.match(text)
    if found is None:
        raise ValueError("has braces that are not a parameter")
    constraints, rest = [], text[found.end() :]
    while rest.startswith(":"):
        name, rest = _constraint_text(rest[1:])
        constraints.append(_constraint(name))
    is_optional = rest.endswith("?") and not rest.startswith("=")
    if rest not in ("", "?") and not rest.startswith("="):
        raise ValueError("has braces that are not a parameter")
    default = rest[1:] if rest.startswith("=") else None
    return Parameter(found[2], tuple(constraints), default, is_optional, is_rest=bool(found[1]))


def _constraint_text(text: str) -> tuple[str, str]:
    """One constraint at the start of a text, with its arguments, and what follows."""
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and letter in ":=?":
            return text[:position], text[position:]
    return text, ""


def _constraint(text: str) -> Constraint:
    name, _, arguments = text.partition("(")
    if name in _PLAIN and not arguments:
        return _PLAIN[name]
    if name == "regex" and arguments.endswith(")"):
        return _regex(arguments[:-1])
    numbers = arguments.removesuffix(")").split(",")
    if name in _NUMBERED and all(_is_number(number.strip()) for number in numbers):
        counts, make = _NUMBERED[name]
        if len(numbers) in counts:
            return make(*(int(number) for number in numbers))
    raise ValueError(f"uses the constraint {text!r}, which is not known")


def _regex(expression: str) -> Constraint:
    try:
        pattern = re.compile(expression, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"uses a regular expression that cannot be read: {error}") from error
    return lambda value: pattern.search(value) is not None


def _is_number(value: str) -> bool:
    return len(value) <= _MAX_NUMBER and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value) is not None


def _in_range(lowest: int, highest: int) -> Constraint:
    return lambda value: _is_number(value) and lowest <= int(value) <= highest


def _has_length(shortest: int, longest: int | None = None) -> Constraint:
    return lambda value: shortest <= len(value) <= (shortest if longest is None else longest)


def _is_real(value: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\s*", value) is not None


def _is_decimal(value: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)\s*", value) is not None


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_LONG = (-(1 << 63), (1 << 63) - 1)
_PLAIN: dict[str, Constraint] = {
    "int": _in_range(-(1 << 31), (1 << 31) - 1),
    "long": _in_range(*_LONG),
    "bool": lambda value: value.strip().lower() in ("true", "false"),
    "guid": lambda value: _GUID.fullmatch(value) is not None,
    "alpha": lambda value: re.fullmatch("[A-Za-z]*", value) is not None,
    "decimal": _is_decimal,
    "double": _is_real,
    "float": _is_real,
    "datetime": _is_time,
    "required": bool,
}
_NUMBERED: dict[str, tuple[tuple[int, ...], Callable[..., Constraint]]] = {
    "min": ((1,), lambda lowest: _in_range(lowest, _LONG[1])),
    "max": ((1,), lambda highest: _in_range(_LONG[0], highest)),
    "range": ((2,), _in_range),
    "length": ((1, 2), _has_length),
    "minlength": ((1,), lambda shortest: lambda value: len(value) >= shortest),
    "maxlength": ((1,), lambda longest: lambda value: len(value) <= longest),
}
