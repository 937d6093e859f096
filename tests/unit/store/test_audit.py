from __future__ import annotations

from datetime import timedelta
from typing import Any

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


def test_what_was_done_is_found_by_who_what_and_when_page_by_page(world: World) -> None:
    audit = world.store.audit
    for number in range(6):
        action = "set.start" if number % 2 else "set.cancel"
        line = {"request_digest": "", "how": "key", "subject": f"set-{number % 3}", "detail": {}}
        audit.record(f"order-{number}", **line, who=f"person-{number % 2}", action=action, at=world.later(3600))
    start, end = world.now - timedelta(hours=3), world.now

    def found(**only: Any) -> list[str]:
        ids, after = [], None
        while True:
            page = audit.list_entries(**{"who": None, "subject": None, **only}, limit=2, after=after)
            ids += [entry.order_id.removeprefix("order-") for entry in page.items]
            after = page.next
            if after is None:
                return ids

    assert found() == ["5", "4", "3", "2", "1", "0"]
    assert found(action="set.start") == ["5", "3", "1"]
    assert found(start=start, end=end) == ["4", "3", "2"]
    assert found(who="person-1", action="set.start", subject="set-0", start=start) == ["3"]
