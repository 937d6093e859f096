"""Where everything of a run lies, and nothing outside of it: the folder .demo of the project."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The function app's root, where function_app.py lies."""


_MARKER = "made-by-the-demo"
"""A folder is only ever emptied when it holds this file."""


class FolderNotOurs(Exception):
    """The demo would have to delete what it has not made, or what another run is using."""


@dataclass(frozen=True)
class Workspace:
    """The folders of one run. Downloads are beside them and outlive it."""

    root: Path
    downloads: Path

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def archives(self) -> Path:
        return self.root / "archives"

    @property
    def host(self) -> Path:
        """State folder of the embedded host: keys, orchestrations, hubs, blobs and SQL."""
        return self.root / "host"

    @property
    def endpoint(self) -> Path:
        return self.host / "endpoint.json"

    @property
    def database(self) -> Path:
        return self.host / "imagedelta.db"

    @property
    def durable(self) -> Path:
        return self.host / "durable.sqlite"

    @property
    def blobs(self) -> Path:
        return self.host / "blobs"

    def blob_names(self, container: str) -> list[str]:
        """What the folder of blobs holds of a container; names that begin with a dot are none."""
        folder = self.blobs / container
        return sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []

    @property
    def azurite(self) -> Path:
        """What Azurite keeps, where it is used."""
        return self.root / "azurite"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def mail(self) -> Path:
        return self.root / "mail"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def summary(self) -> Path:
        return self.root / "summary.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def device(self, name: str) -> Path:
        return self.root / "devices" / name

    @contextmanager
    def start_clean(self) -> Iterator[None]:
        """Hold the folder for one run: remove what an earlier run left and make the folders of this one.

        Raises: FolderNotOurs when another run has it, or when it holds something that no run has made.
        """
        marker = self.root / _MARKER
        if self.root.exists() and any(self.root.iterdir()) and not marker.exists():
            raise FolderNotOurs(f"{self.root} holds other things than a run of the demo: name another with --folder")
        self.root.mkdir(parents=True, exist_ok=True)
        with marker.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FolderNotOurs(f"a run of the demo has {self.root}: wait, or name another with --folder") from None
            self._empty()
            for folder in (self.layers, self.archives, self.keys, self.mail, self.logs, self.root / "devices"):
                folder.mkdir()
            yield

    def _empty(self) -> None:
        for path in self.root.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _MARKER:
                path.unlink()


def default_workspace() -> Workspace:
    return Workspace(PROJECT / ".demo", PROJECT / ".downloads")
