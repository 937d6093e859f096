from __future__ import annotations

from edge_module.twin_patch import merged

TWIN = {"paused": True, "outbox": {"url": "u", "query": "old"}, "keepImages": ["a"], "$version": 3}


def test_objects_are_merged_null_removes_and_lists_are_replaced() -> None:
    patch = {"paused": None, "outbox": {"query": "new"}, "keepImages": ["b"], "patches": {"url": "p", "x": None}}

    assert merged(TWIN, {**patch, "$version": 4}) == {
        "outbox": {"url": "u", "query": "new"},
        "keepImages": ["b"],
        "patches": {"url": "p"},
        "$version": 4,
    }


def test_what_is_merged_is_not_changed() -> None:
    before = {**TWIN, "outbox": dict(TWIN["outbox"])}

    merged(TWIN, {"outbox": {"query": "new"}, "paused": None})

    assert before == TWIN


def test_an_object_replaces_what_is_none() -> None:
    assert merged({"a": 1, "b": {"c": 1}}, {"a": {"d": None}, "b": 2}) == {"a": {}, "b": 2}
