"""What steps and triggers may ask of the outside world; adapters and simulators implement these.

Every method raises only ImageDeltaError: DependencyError where trying again can help.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Protocol

from imagedelta.archives import Image
from imagedelta.archives.findings import PassedOver


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
        """Store the chunks, replacing an older blob of the name atomically. Memory: a few MiB."""
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
    configurations: Mapping[str, str] = field(default_factory=dict)
    """Of $edgeAgent: the deployments by target condition that the device meets -> ``targeted`` or ``applied``. One that
    changes nothing of $edgeAgent itself stays ``targeted`` there."""


@dataclass(frozen=True)
class DeviceTags:
    """Of a device's twin, which only services see."""

    tags: Mapping[str, Any]
    etag: str


@dataclass(frozen=True)
class Deployment:
    """What every device that meets a condition is to run; for devices whose content is the same for all."""

    deployment_id: str
    """At most 128 lower-case letters, digits and -+%_*!'."""
    target_condition: str
    """Of device twins, e.g. ``tags.site = 'north'``; ``*`` is met by all."""
    priority: int
    """Of those whose condition a device meets, the highest counts; layered content lies over a lower one's."""
    modules_content: Mapping[str, Any]


@dataclass(frozen=True)
class HubDevices:
    """A page of a hub's devices."""

    devices: Mapping[str, Mapping[str, Any]]
    """Id in the hub -> tags."""
    next: str | None
    """Asks for the page behind it; it may end, and be refused then."""


class Hub(Protocol):
    """The service side of one IoT Hub.

    Every method raises DependencyError ``hub.budget`` when as much was asked of the hub as it takes: ``retry_after``
    says when it is worth asking again, and nothing is wrong with the hub.
    """

    @property
    def room(self) -> int:
        """How many manifests may be written now."""
        ...

    def module_twin(self, device_id: str, module_id: str) -> Twin | None:
        """None when the device or module does not exist in this hub."""
        ...

    def agents(self, device_ids: Collection[str]) -> Mapping[str, Twin]:
        """The $edgeAgent twins of many devices, by device; without those that this hub does not know.

        One query for about a hundred devices instead of a request for each. Queries lag: IoT Hub answers from an
        index that is seconds behind, at worst half an hour, and no more than 20 times a minute and unit. So a version
        read here may be older than one that we have written ourselves since: whoever keeps it takes the later of the
        two. What must be the present state (whether a deployment may be written) is asked of ``module_twin``.
        Source: docs/adr/0018-hubs-are-asked-by-query-and-by-twin.md.
        """
        ...

    def devices_with(self, module_id: str, after: str | None) -> HubDevices:
        """The edge devices that have this module, a page of about a hundred, by two queries.

        Raises: RequestError ``hub.refused`` when ``after`` is not known any more.
        """
        ...

    def update_desired(self, device_id: str, module_id: str, patch: Mapping[str, Any]) -> Twin:
        """Merge ``patch`` into the desired properties; a None value deletes its key."""
        ...

    def device_tags(self, device_id: str) -> DeviceTags | None:
        """None when the device does not exist in this hub."""
        ...

    def set_tags(self, device_id: str, patch: Mapping[str, Any], *, etag: str) -> None:
        """Merge ``patch`` into the device's tags if its twin is still the one that was read; a None value deletes.

        Raises: RequestError ``hub.changed`` when it is another by now: read again; ``hub.unknown_device``.
        """
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

    def deployments(self) -> Sequence[Deployment]:
        """Those by target condition; a hub has at most 100."""
        ...

    def create_deployment(self, deployment: Deployment) -> None:
        """Give devices content by a target condition. The same again changes nothing.

        Not for devices that ``apply_content`` is used on: the last of the two wins, and nobody sees it lose.

        Raises: RequestError ``hub.deployment_exists`` when another one has the id.
        """
        ...

    def delete_deployment(self, deployment_id: str) -> None:
        """Devices go on with the next that they meet; deleting what is not there is fine."""
        ...


class ImageSource(Protocol):
    """Images that are to be registered, and where their layers come from: an archive, or a name in a registry."""

    @property
    def images(self) -> Sequence[Image]: ...
    @property
    def passed_over(self) -> Sequence[PassedOver]:
        """What is there beside the images."""
        ...

    def open_layer(self, image: Image, position: int) -> BinaryIO:
        """A layer as an uncompressed tar, whose end is reached only if it has its diff_id; to be closed.

        Raises (also while it is read): ContentError; DependencyError.
        """
        ...


class Registry(Protocol):
    """Where build pipelines push images; nothing is pushed from here. Many threads may ask it."""

    def open(self, reference: str, machines: Sequence[Sequence[str]]) -> ImageSource:
        """What ``HOST[:PORT]/PATH[:TAG|@DIGEST]`` stands for now; documents are held against their digests.

        Args:
            machines: Of an image for several platforms those are taken that these run, each given as its platforms,
                best first; all of them when there are no machines.

        Raises: RequestError when there is no such image or it may not be read; ContentError for what is no image;
            DependencyError.
        """
        ...


@dataclass(frozen=True)
class Mail:
    """Text and HTML say the same; every text is one line but for these two."""

    message_id: str
    recipient: str
    recipient_name: str
    copies: tuple[str, ...]
    """Addresses of others who are to see it."""
    subject: str
    text: str
    html: str
    thread: str
    """Mails of the same are shown together."""
    topic: str
    """What a thread is about, for people."""
    workstream: str
    """By which people sort their mail."""


class Mailer(Protocol):
    def send(self, mail: Mail) -> None:
        """Returns once the server has taken the message for its recipient; a copy that is refused is only logged.

        Raises: RequestError ``mail.refused`` when recipient or message are refused for good; DependencyError
            ``mail.deferred`` when they are for now, ``dependency.mail`` for all that is about the server or ourselves.
        """
        ...


@dataclass(frozen=True)
class Event:
    event_id: str
    """The same in every try."""
    subject: str
    text: str
    """JSON, as it is signed."""


class Webhook(Protocol):
    def post(self, event: Event) -> None:
        """Returns once the receiver has taken the event.

        Raises: RequestError ``webhook.gone`` when it wants no more of them; DependencyError ``webhook.rejected`` when
            it did not take this one, ``dependency.webhook`` when it does not answer or asks to be left alone.
        """
        ...


class Clock(Protocol):
    def __call__(self) -> datetime:
        """Now, UTC and aware."""
        ...
