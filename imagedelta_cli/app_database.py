"""The database of a function app: what its folder says is to be done before this version of the app starts."""

from __future__ import annotations

import importlib.util
import sys
from contextlib import chdir
from pathlib import Path

from imagedelta.errors import RequestError

_SCRIPT = "database_upgrade.py"


def upgrade_database(app: Path) -> str | None:
    """Run ``upgrade`` of ``database_upgrade.py`` in the app's folder; returns the revision that it tells.

    None for an app that has no such file, and so no database.

    Raises: what it raises, as it is.
    """
    script = app.resolve() / _SCRIPT
    if not script.is_file():
        return None
    if str(script.parent) not in sys.path:
        sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise RequestError(f"{script} cannot be imported", code="cli.no_database")
    module = importlib.util.module_from_spec(spec)
    with chdir(script.parent):
        spec.loader.exec_module(module)
        return str(module.upgrade())
