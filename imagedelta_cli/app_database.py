"""The database of a function app: what its folder says is to be done with it, before this version of the app starts or
after a backup was restored."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

from imagedelta.errors import RequestError

_UPGRADE = "database_upgrade.py"
_RECONCILE = "database_reconcile.py"
_ADMIT = "database_admit.py"


def upgrade_database(app: Path) -> str | None:
    """Run ``upgrade`` of ``database_upgrade.py`` in the app's folder; returns the revision that it tells.

    None for an app that has no such file, and so no database.

    Raises: what it raises, as it is.
    """
    if not (app / _UPGRADE).is_file():
        return None
    return str(_run(app, _UPGRADE, "upgrade"))


def reconcile_database(app: Path, *, dry_run: bool, progress: Callable[[int], None]) -> dict[str, Any]:
    """Run ``reconcile`` of ``database_reconcile.py`` in the app's folder; returns what it found and did.

    Raises: RequestError ``cli.no_database`` for an app without one; what it raises, as it is.
    """
    return dict(_run(app, _RECONCILE, "reconcile", dry_run=dry_run, progress=progress))


def admit_to_database(app: Path, name: str, client_id: str) -> None:
    """Run ``admit`` of ``database_admit.py`` in the app's folder.

    Raises: RequestError ``cli.no_database`` for an app without one; what it raises, as it is.
    """
    _run(app, _ADMIT, "admit", name=name, client_id=client_id)


def _run(app: Path, name: str, function: str, /, **arguments: Any) -> Any:
    script = app.resolve() / name
    if not script.is_file():
        raise RequestError(f"the app in {script.parent} has no {name}", code="cli.no_database")
    if str(script.parent) not in sys.path:
        sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise RequestError(f"{script} cannot be imported", code="cli.no_database")
    module = importlib.util.module_from_spec(spec)
    with chdir(script.parent):
        spec.loader.exec_module(module)
        return getattr(module, function)(**arguments)
