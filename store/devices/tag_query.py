"""Tag queries that choose devices, in the form of IoT Hub's target conditions, as SQL conditions.

    condition  = and { "or" and }        and   = not { "and" not }
    not        = "not" not | "(" condition ")" | is_defined(field) | comparison
    comparison = field ("=" | "!=" | "<>") 'text'  |  field "in" "[" 'text' { "," 'text' } "]"
    field      = "tags." name | "deviceId" | "platform" | "hub"

Texts compare by case. Spaces around a text count for nothing: SQL Server does not see those at the end, so tags are
kept without any. As in IoT Hub, a device without the tag matches neither ``=`` nor ``!=``: nobody is sent what was
not meant for them; ``not is_defined(tags.kind)`` finds it. A quote in a text is written twice.
"""

from __future__ import annotations

import re

from sqlalchemy import ColumnElement, and_, not_, or_, select

from imagedelta.errors import RequestError
from imagedelta.platforms import parse_platform
from store.kernel.schema import device_tags, devices

MAX_DEPTH = 32
_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<word>[A-Za-z_][\w.\-]*)|(?P<sign>!=|<>|[=()\[\],]))")
_COLUMNS = {"deviceid": devices.c.device_id, "platform": devices.c.platform, "hub": devices.c.hub}


def tag_condition(query: str) -> ColumnElement[bool]:
    """A condition on ``devices``.

    Raises: RequestError ``request.invalid`` naming the place where the query stops making sense.
    """
    reader = _Reader(query)
    condition = reader.any_of(0)
    if reader.peek() is not None:
        raise reader.unexpected("the end")
    return condition


class _Reader:
    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = _split(query)
        self._place = 0

    def peek(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def any_of(self, depth: int) -> ColumnElement[bool]:
        if depth > MAX_DEPTH:
            raise RequestError(f"query: nested more than {MAX_DEPTH} deep")
        parts = [self._all_of(depth)]
        while self._take_word("or"):
            parts.append(self._all_of(depth))
        return or_(*parts)

    def _all_of(self, depth: int) -> ColumnElement[bool]:
        parts = [self._one(depth)]
        while self._take_word("and"):
            parts.append(self._one(depth))
        return and_(*parts)

    def _one(self, depth: int) -> ColumnElement[bool]:
        negations = 0
        while self._take_word("not"):
            negations += 1
        condition = self._plain(depth)
        return not_(condition) if negations % 2 else condition

    def _plain(self, depth: int) -> ColumnElement[bool]:
        if self._take_word("("):
            condition = self.any_of(depth + 1)
            self._expect(")")
            return condition
        if self._take_word("is_defined"):
            self._expect("(")
            field = self._field()
            self._expect(")")
            return field.is_not(None)
        return self._comparison(self._field())

    def _comparison(self, field: ColumnElement[str]) -> ColumnElement[bool]:
        if self._take_word("in"):
            self._expect("[")
            values = [self._value(field)]
            while self._take_word(","):
                values.append(self._value(field))
            self._expect("]")
            return field.in_(values)
        if self._take_word("="):
            return field == self._value(field)
        if self._take_word("!=") or self._take_word("<>"):
            return field != self._value(field)
        raise self.unexpected("=, != or in")

    def _field(self) -> ColumnElement[str]:
        name = self.peek() or ""
        if name.startswith("tags.") and len(name) > len("tags."):
            self._place += 1
            return _tag(name.removeprefix("tags."))
        if (column := _COLUMNS.get(name.lower())) is None:
            raise self.unexpected("tags.<name>, deviceId, platform or hub")
        self._place += 1
        return column

    def _value(self, field: ColumnElement[str]) -> str:
        """A platform may be written in any of its spellings."""
        text = self._text()
        return parse_platform(text) if field is devices.c.platform else text

    def _text(self) -> str:
        token = self.peek()
        if token is None or not token.startswith("'"):
            raise self.unexpected("a text in single quotes")
        self._place += 1
        return token[1:-1].replace("''", "'").strip()

    def _take_word(self, word: str) -> bool:
        token = self.peek()
        taken = token is not None and token.lower() == word
        self._place += taken
        return taken

    def _expect(self, sign: str) -> None:
        if not self._take_word(sign):
            raise self.unexpected(sign)

    def unexpected(self, wanted: str) -> RequestError:
        return RequestError(f"query: expected {wanted}, found {self.peek() or 'the end'} in {self._query!r}")


def _split(query: str) -> list[str]:
    tokens, place = [], 0
    query = query.rstrip()
    while place < len(query):
        match = _TOKEN.match(query, place)
        if match is None:
            raise RequestError(f"query: cannot read {query[place : place + 20]!r}")
        tokens.append(match.group("text") or match.group("word") or match.group("sign"))
        place = match.end()
    return tokens


def _tag(name: str) -> ColumnElement[str]:
    """The tag's value or NULL, so that SQL's three-valued logic is IoT Hub's."""
    query = select(device_tags.c.value).where(
        device_tags.c.device_id == devices.c.device_id, device_tags.c.name == name
    )
    return query.correlate(devices).scalar_subquery()
