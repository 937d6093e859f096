"""What is left to build and to publish for a set, asked of SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.deps import Deps

_BATCHES = 10
"""In one answer, which travels through the task hub; the timer starts the set again for the rest."""


def list_work(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
    """``{"setId", "of": "patches"|"bundles"}`` -> ``{"batches": [[patch, …], …]}``: to be built, or published."""
    set_id, store = payload["setId"], deps.store
    patches = payload["of"] == "patches"
    found = store.transfers.patches_to_build(set_id, deps.now()) if patches else store.publications.patches_of(set_id)
    size = deps.settings.batch_size
    batches = [list(found[at : at + size]) for at in range(0, len(found), size)]
    return {"batches": batches[:_BATCHES]}
