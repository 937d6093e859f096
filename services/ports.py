"""What steps and triggers may ask of the outside world; adapters and simulators implement these.

Every method raises only ImageDeltaError: DependencyError where trying again can help.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Protocol


@dataclass(frozen=True)
class BlobInfo:
    name: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class BlobRange:
    """``length`` bytes of a blob from ``offset``: a part of a composed blob that is never copied through us."""

    container: str
    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class Grant:
    """Access that an outside party may be given."""

    query: str = field(repr=False)
    """A SAS query, without '?'."""
    expires_at: datetime


OWN_CONTAINERS = frozenset({"layers", "indexes", "signatures", "patches", "scratch"})
"""What the cloud keeps for itself: ``layers`` (uncompressed tars, named by the hex of the diff_id), ``indexes``,
``signatures``, ``patches`` (named by the hex of their sha256), ``scratch``."""


class Blobs(Protocol):
    """Containers of immutable blobs. A blob is visible whole or not at all.

    Beside ``OWN_CONTAINERS`` there are ``intake`` (uploaded archives) and one outbox for each device.
    """

    def put(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        """Store the chunks, replacing an older blob of the name atomically. Memory: one chunk."""
        ...

    def put_if_absent(self, container: str, name: str, chunks: Iterable[bytes]) -> BlobInfo:
        """As ``put``, but an existing blob stays and is returned: for content-addressed names."""
        ...

    def compose_if_absent(self, container: str, name: str, parts: Sequence[bytes | BlobRange]) -> BlobInfo:
        """Make a blob of small literal parts and ranges of other blobs, joined by the storage itself.

        An existing blob stays and is returned: somebody may be fetching it.
        """
        ...

    def open(self, container: str, name: str) -> BinaryIO:
        """A seekable reader that fetches by Range; for one thread.

        Raises: ContentError ``content.missing`` when there is no such blob.
        """
        ...

    def read(self, container: str, name: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def read_at(self, container: str, name: str, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``. Many threads may call it at once.

        Raises: ContentError ``content.missing``, or ``content.truncated`` when the blob ends earlier.
        """
        ...

    def info(self, container: str, name: str) -> BlobInfo | None: ...

    def list(self, container: str, prefix: str = "") -> Iterable[BlobInfo]:
        """Blobs in the order of their names; a container that is not there has none."""
        ...

    def delete(self, container: str, name: str) -> None:
        """Deleting what is not there is fine."""
        ...

    def delete_container(self, container: str) -> None:
        """With everything in it; deleting what is not there is fine.

        The storage may refuse its name for a while (DependencyError) before it can be made anew.
        """
        ...

    def container_url(self, container: str) -> str: ...

    def read_grant(self, container: str, lifetime: timedelta) -> Grant:
        """Access to read and list one container, creating the container if needed.

        It lives for ``lifetime``, or for less where the storage grants less: ``expires_at`` tells.
        """
        ...

    def blob_grant(self, container: str, name: str, lifetime: timedelta) -> Grant:
        """To read this one blob, and nothing else."""
        ...

    def write_url(self, container: str, name: str, lifetime: timedelta) -> str:
        """A URL with a SAS that lets its holder write this one blob, and see how far that has come.

        Whole by one PUT, or in blocks that are staged one by one (``comp=block``) and made the blob by a list
        (``comp=blocklist``): storages take some GB in one PUT, and a link that breaks costs one block.
        """
        ...


@dataclass(frozen=True)
class Twin:
    """A module twin; ``version`` is the desired properties' ``$version``."""

    desired: Mapping[str, Any]
    reported: Mapping[str, Any]
    version: int
    etag: str
    seen_at: datetime | None = None
    """When the hub was last told ``lastDesiredVersion``: from then on the device has known that version of its
    desired properties. None when it was never told, or does not say when."""


class Hub(Protocol):
    """The service side of one IoT Hub."""

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        """None when the device or module does not exist in this hub."""
        ...

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        """The $edgeAgent twins of many devices, by device; without those that this hub does not know.

        One query for about a hundred devices instead of a request for each. Queries lag: IoT Hub answers from an
        index that is seconds behind, at worst half an hour, and never more often than 20 times a minute and unit.
        What must be the present state (whether a deployment may be written) is asked of ``module_twin``.
        """
        ...

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        """Merge ``patch`` into the desired properties; a None value deletes its key."""
        ...

    def modules_content(self, device_id: str) -> Mapping[str, Any] | None:
        """modulesContent as it stands: the desired properties of every module that $edgeAgent names,
        of $edgeAgent and of $edgeHub. None when the device does not exist in this hub."""
        ...

    def apply_content(self, device_id: str, modules_content: Mapping[str, Any], *, on: int) -> None:
        """Replace the device's modules by ``modules_content``, if its deployment is still the one that was read.

        IoT Hub has no condition for this write: If-Match is for twins, identities and configurations, not for
        applyConfigurationContent. So the version is looked at right before. Somebody else who writes between that
        look and the write, which are one request apart, is overwritten unnoticed; so is a change that leaves the
        version of $edgeAgent as it was, since other modules' properties count for themselves.

        Args:
            on: ``version`` of the $edgeAgent twin, read before the content that ``modules_content`` was made of.

        Raises: RequestError ``hub.changed`` when it has another version by now: read again; ``hub.unknown_device``.
        """
        ...


@dataclass(frozen=True)
class Mail:
    message_id: str
    recipient: str
    subject: str
    body: str


class Mailer(Protocol):
    def send(self, mail: Mail) -> None:
        """Returns once the server has taken the message.

        Raises: RequestError ``mail.refused`` when the recipient is refused for good; DependencyError else.
        """
        ...


class Clock(Protocol):
    def __call__(self) -> datetime:
        """Now, UTC and aware."""
        ...
