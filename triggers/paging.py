"""A page of the store as an answer."""

from __future__ import annotations

from contracts.records import Page
from contracts.responses import View, page_of
from triggers.http import Answer


def page_answer(view: type[View], page: Page) -> Answer:
    return Answer(
        200, page_of(view).model_validate({"items": [view.of(item) for item in page.items], "next": page.next})
    )
