from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from tests.unit.store.world import World


def test_who_did_what_is_listed_newest_first(world: World) -> None:
    audit = world.store.audit
    line = {"request_digest": "sha256:a", "subject": "set-1", "how": "key"}
    audit.record("order-1", **line, who="olga", action="set.create", detail={"devices": 3}, at=world.now)
    audit.record("order-2", **line, who="ivan", action="set.cancel", detail={}, at=world.later())

    both = audit.list_entries(who=None, subject="set-1", limit=9, after=None).items
    olga = audit.list_entries(who="olga", subject=None, limit=9, after=None).items

    assert [entry.who for entry in both] == ["ivan", "olga"]
    assert [(entry.action, entry.detail) for entry in olga] == [("set.create", {"devices": 3})]


def test_an_order_has_one_line_and_what_it_did_is_found_by_its_id(world: World) -> None:
    audit = world.store.audit
    line = {
        "who": "olga",
        "how": "person 0d1d",
        "action": "set.create",
        "subject": "set-1",
        "detail": {},
        "at": world.now,
    }
    audit.record("order-1", "sha256:a", **line)

    with pytest.raises(IntegrityError):
        audit.record("order-1", "sha256:b", **line)

    found = audit.entry_of("order-1")
    assert found is not None
    assert (found.subject, found.request_digest, found.how) == ("set-1", "sha256:a", "person 0d1d")
    assert audit.entry_of("order-2") is None
