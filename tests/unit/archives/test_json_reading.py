"""JSON of others is bounded in depth, wherever it is read, so that whatever walks through it may recurse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imagedelta.archives.json_reading import MAX_DEPTH, parse, parse_object
from imagedelta.errors import ContentError


def nested(depth: int) -> bytes:
    """Return lists and objects in turn, so many in each other."""
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return json.dumps(value).encode()


def test_as_many_as_may_be_are_read():
    assert parse(nested(MAX_DEPTH), "document") == json.loads(nested(MAX_DEPTH))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 100_000])
def test_one_more_is_refused_and_so_are_thousands(depth):
    data = nested(depth) if depth < 1000 else b"[" * depth + b"]" * depth

    with pytest.raises(ContentError, match="in each other") as refusal:
        parse(data, "document")

    assert refusal.value.code == "content.invalid"


def test_what_may_be_does_not_depend_on_how_deep_the_caller_is():
    def from_below(frames: int) -> Any:
        return from_below(frames - 1) if frames else parse(nested(MAX_DEPTH), "document")

    assert from_below(300) == parse(nested(MAX_DEPTH), "document")


def test_neither_width_nor_brackets_in_text_are_depth():
    wide = {"text": "[" * 1000, "list": [[[]]] * 1000, "empty": {}}

    assert parse_object(json.dumps(wide).encode(), "document") == wide
