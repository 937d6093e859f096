"""Brings a database that was restored from a backup to what is true by now: ``imagedelta db reconcile`` runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from activities.reconcile import reconcile as reconcile_with
from services.factory import make_deps
from services.settings import load_settings


def reconcile(*, dry_run: bool, progress: Callable[[int], None]) -> dict[str, Any]:
    """Returns what was found and done (activities.reconcile).

    Raises: RequestError ``settings.*``; DependencyError when SQL or the storage does not answer.
    """
    deps = make_deps(load_settings())
    deps.store.healthy()
    return reconcile_with(deps, dry_run=dry_run, progress=progress)
