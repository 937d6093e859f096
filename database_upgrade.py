"""Brings the app's database to this version's schema: once for each deployment, before the app starts.

``imagedelta db upgrade`` runs it, with the rights to change a schema that the app itself need not have; a host on
this machine does so at its start. Never at the first call of a function: many instances start at once, and each
would wait for the slowest.
"""

from __future__ import annotations

from services.factory import upgrade_database
from services.settings import load_settings


def upgrade() -> str:
    """Returns the revision that the database has now; nothing changes when it had it.

    Raises: RequestError ``settings.*``; DependencyError when SQL does not answer, ``dependency.schema`` when a newer
        version made the database.
    """
    return upgrade_database(load_settings())
