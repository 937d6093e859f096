from __future__ import annotations

import pytest

import orchestrators.retrying


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is tried again after a millisecond."""
    monkeypatch.setattr(orchestrators.retrying, "_FIRST_PAUSE_MILLISECONDS", 1)
