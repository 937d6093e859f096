"""The record of truth on one database: every area of services.store_port, and its schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from contracts.channels import MAIL
from imagedelta.errors import DependencyError
from store.attendance import SqlAttendance
from store.audit import SqlAudit
from store.census import SqlCensus
from store.devices.devices import SqlDevices
from store.devices.tag_query import tag_condition
from store.hubs import SqlHubs
from store.images import SqlImages
from store.kernel.admit import admit
from store.kernel.engine import Database
from store.kernel.migrate import head, migrate, revisions, schema_version
from store.quarantine import SqlQuarantine
from store.restored import SqlRestored
from store.retention import SqlRetention
from store.sets.notifications import SqlNotifications
from store.sets.releases import SqlReleases
from store.sets.sets import SqlSets
from store.traces import SqlTraces
from store.transfers.patches import SqlPatches
from store.transfers.publications import SqlPublications
from store.transfers.transfers import SqlTransfers

T = TypeVar("T")


class SqlStore:
    """Implements services.store_port.Store. One for each process; threads share it."""

    def __init__(
        self,
        url: str,
        *,
        module_id: str = "imagereconstruction",
        max_attempts: int = 4,
        silent_after: timedelta = timedelta(days=14),
        access_token: Callable[[], str] | None = None,
        channels: Sequence[str] = (MAIL,),
    ) -> None:
        """Args:
        url: ``sqlite:///file`` or ``mssql+pyodbc://…``.
        module_id: The only module whose reports and inventories are believed.
        max_attempts: Of a transfer whose source is missing, also when only an inventory says so.
        silent_after: A device that is not heard from for so long is silent.
        access_token: Gives an Entra token for each new SQL Server connection whose URL holds no login.
        channels: Of contracts.channels, by which what happens is told.
        """
        self._db = database = Database(url, access_token, channels=channels)
        self.images = SqlImages(database)
        self.devices = SqlDevices(database, module_id, max_attempts, silent_after)
        self.hubs = SqlHubs(database, silent_after)
        self.sets = SqlSets(database)
        self.transfers = SqlTransfers(database, module_id, silent_after)
        self.patches = SqlPatches(database)
        self.publications = SqlPublications(database)
        self.notifications = SqlNotifications(database)
        self.releases = SqlReleases(database)
        self.audit = SqlAudit(database)
        self.retention = SqlRetention(database)
        self.attendance = SqlAttendance(database)
        self.quarantine = SqlQuarantine(database)
        self.restored = SqlRestored(database)
        self.traces = SqlTraces(database)
        self.census = SqlCensus(database)

    def migrate(self) -> str:
        """Bring the database to this version's schema and return its revision; safe in several processes at once."""
        migrate(self._db)
        return head()

    def admit(self, name: str, client_id: str) -> None:
        """Let a managed identity of Azure read and write the database, and no more; safe to do again.

        Raises: RequestError ``settings.invalid`` for a name or an id that is none, and on SQLite.
        """
        admit(self._db, name, client_id)

    @staticmethod
    def check_tag_query(query: str) -> None:
        """Raises: RequestError ``request.invalid`` naming the place where the query stops making sense."""
        tag_condition(query)

    def together(self, work: Callable[[], T]) -> T:
        """Run ``work``, whose calls of this store then are one transaction. It may be run more than once."""
        return self._db.together(work)

    def healthy(self) -> None:
        """Raises: DependencyError when SQL does not answer, ``dependency.schema_old`` when its schema is missing or
        older than this version's, ``dependency.schema`` when it is another version's."""
        found = self._db.read(schema_version, patient=False)
        if found != head():
            known = found is None or found in revisions()
            raise DependencyError(
                f"the database has schema {found or 'none'}, this version needs {head()}",
                code="dependency.schema_old" if known else "dependency.schema",
            )

    def close(self) -> None:
        self._db.close()
