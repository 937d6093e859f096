from __future__ import annotations

import pytest

from imagedelta.errors import RequestError
from tests.unit.store.world import World

ANSWER = {"status": 202, "body": {"setId": "set-1"}, "headers": {"Location": "/api/x"}}


def test_who_did_what_is_listed_newest_first(world: World) -> None:
    audit = world.store.audit
    audit.record("olga", "set.create", "set-1", {"devices": 3}, world.now)
    audit.record("ivan", "set.cancel", "set-1", {}, world.later())

    both = audit.list_entries(who=None, subject="set-1", limit=9, after=None).items
    olga = audit.list_entries(who="olga", subject=None, limit=9, after=None).items

    assert [entry.who for entry in both] == ["ivan", "olga"]
    assert [(entry.action, entry.detail) for entry in olga] == [("set.create", {"devices": 3})]


def test_an_answer_is_remembered_for_the_same_request_of_the_same_caller(world: World) -> None:
    audit = world.store.audit
    assert audit.remembered("k", "POST /x", "d1", "olga") is None
    audit.remember("k", "POST /x", "d1", "olga", ANSWER, world.now)
    audit.remember("k", "POST /x", "d1", "olga", {"status": 500}, world.now)

    assert audit.remembered("k", "POST /x", "d1", "olga") == ANSWER
    assert audit.remembered("k", "POST /x", "d1", "ivan") is None
    assert audit.remembered("k", "POST /y", "d1", "olga") is None


def test_a_key_used_for_another_request_is_refused(world: World) -> None:
    world.store.audit.remember("k", "POST /x", "d1", "olga", ANSWER, world.now)

    with pytest.raises(RequestError) as error:
        world.store.audit.remembered("k", "POST /x", "d2", "olga")

    assert (error.value.code, error.value.status) == ("request.idempotency_mismatch", 422)
