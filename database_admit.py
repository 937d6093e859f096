"""Lets the app's managed identity into its database, once the schema is there; again it changes nothing.

``imagedelta db admit`` runs it, as who administers the database: scripts/azure-database, for each deployment.
"""

from __future__ import annotations

from services.factory import admit_to_database
from services.settings import load_settings


def admit(*, name: str, client_id: str) -> None:
    """Make the identity a user that reads and writes.

    Raises: RequestError ``settings.*``; DependencyError when SQL does not answer, ``dependency.login`` for a login that
        may not let anybody in.
    """
    admit_to_database(load_settings(), name, client_id)
