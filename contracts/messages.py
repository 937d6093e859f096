"""What a device and the cloud say to each other: reports, inventories and the module twin.

Both sides parse with these models, so a field exists once. Bodies come from outside: every text and list
is bounded, unknown fields are ignored (a newer device may say more).
Source: docs/formats/messages.md.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)

from contracts import link_hours
from contracts.link_hours import parse_hours
from contracts.refusals import first_problem, refuse
from imagedelta.bundles.head import MAX_ATTEMPT
from imagedelta.errors import ContentError, LimitExceeded, RequestError
from imagedelta.platforms import PATTERN, parse_platform

MAX_MESSAGE_BYTES = 256 * 1024
MAX_BODY_BYTES = MAX_MESSAGE_BYTES - 1024
"""What a device sends: a hub counts the properties of a message as well."""
MAX_INVENTORY_BYTES = 8 * 1024 * 1024
"""Of an inventory after decompression; on the wire it stays under the hub's message limit."""
MAX_FETCHED_BYTES = 2**44
"""Of one bundle; half a million of them can be added up in SQL's 64 bits."""

MAX_SEQUENCE = 1_000_000
"""Of the reports of one attempt."""

ImageId = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
DeviceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9\-._:@$]{0,127}$")]
ShortText = Annotated[str, StringConstraints(max_length=256)]
LongText = Annotated[str, StringConstraints(max_length=2048)]
HexDigest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _platform(text: str) -> str:
    try:
        return parse_platform(text)
    except RequestError as error:
        refuse(text, PATTERN, f"{error}: os/architecture[/variant] is needed, e.g. linux/arm/v7")


Platform = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(_platform),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "maxLength": 64}),
]
"""In any of its spellings; kept in the one of imagedelta.platforms."""
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.]{0,63}$")]

ReportedState = Literal["receiving", "received", "applying", "succeeded", "failed", "blocked", "source_missing"]


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Report(Message):
    """One step of one transfer on one device. Ordered by (attempt, sequence); redelivery is normal."""

    kind: Literal["report"] = "report"
    version: Literal[1] = 1
    transfer_id: ShortText = Field(alias="transferId")
    attempt: int = Field(ge=1, le=MAX_ATTEMPT)
    sequence: int = Field(ge=1, le=MAX_SEQUENCE, description="Grows by one with each report of an attempt.")
    state: ReportedState
    image_id: ImageId = Field(alias="imageId")
    code: Code | None = None
    detail: LongText | None = None
    missing_source: ImageId | None = Field(default=None, alias="missingSource")
    local_digest: ShortText | None = Field(
        default=None, alias="localDigest", description="Manifest digest in the local registry."
    )
    bytes_fetched: int | None = Field(default=None, alias="bytesFetched", ge=0, le=MAX_FETCHED_BYTES)
    seconds_on_link: float | None = Field(default=None, alias="secondsOnLink", ge=0, le=1e12)

    @property
    def message_id(self) -> str:
        """The same report always has the same id, whoever repeats it."""
        return f"{self.transfer_id}:{self.attempt}:{self.sequence}"


class PresentImage(Message):
    image_id: ImageId = Field(alias="imageId")
    references: list[ShortText] = Field(default_factory=list, max_length=64)
    local_digest: ShortText | None = Field(default=None, alias="localDigest")


class LastResult(Message):
    """The outcome of a finished attempt, repeated in inventories so that a lost report heals."""

    transfer_id: ShortText = Field(alias="transferId")
    attempt: int = Field(ge=1, le=MAX_ATTEMPT)
    sequence: int = Field(ge=1, le=MAX_SEQUENCE)
    state: Literal["succeeded", "failed", "source_missing"]
    image_id: ImageId = Field(alias="imageId")
    code: Code | None = None
    detail: LongText | None = None


class Inventory(Message):
    """Everything a device has, whole. It is evidence: it beats every state the cloud believed."""

    kind: Literal["inventory"] = "inventory"
    version: Literal[1] = 1
    installation_id: ShortText = Field(alias="installationId", description="Random, kept on the registry's disk.")
    sequence: int = Field(ge=1, le=2**31 - 1, description="Grows with each inventory of an installation.")
    platform: Platform
    also_runs: list[Platform] | None = Field(
        default=None, max_length=16, alias="alsoRuns", description="Further platforms, best first."
    )
    profiles: list[ShortText] = Field(max_length=64, description="Patch profiles the device can read.")
    trusted_keys: list[ShortText] = Field(default_factory=list, max_length=32, alias="trustedKeys")
    bundle_forms: list[ShortText] | None = Field(
        default=None,
        max_length=16,
        alias="bundleForms",
        description="Forms of a bundle that the device fetches beside the composed one: shared.",
    )
    free_disk_bytes: int = Field(ge=0, le=2**62, alias="freeDiskBytes")
    images: list[PresentImage] = Field(max_length=10_000)
    results: list[LastResult] = Field(default_factory=list, max_length=1_000)

    def to_wire(self) -> bytes:
        """gzip JSON, at most ``MAX_BODY_BYTES``.

        Raises: LimitExceeded when it does not fit one message.
        """
        wire = gzip.compress(to_json(self), 9, mtime=0)
        if len(wire) > MAX_BODY_BYTES:
            raise LimitExceeded(f"inventory of {len(wire)} bytes is over the message limit of {MAX_BODY_BYTES}")
        return wire


class OutboxAccess(Message):
    """Where a device fetches its bundles; ``url`` is the container, ``query`` its SAS without '?'."""

    url: LongText
    query: LongText
    renew_after: ShortText = Field(alias="renewAfter", description="UTC, ISO 8601: half of the SAS's life.")


class PatchGrant(Message):
    """What opens one patch that shared bundles of the device refer to."""

    patch: HexDigest
    query: LongText = Field(description="This grant's own part of the SAS, joined to the common one with &.")


class PatchAccess(Message):
    """Where a device fetches shared patches; each grant opens one of them, for reading."""

    url: LongText
    query: LongText = Field(default="", description="What all grants have in common, written once.")
    grants: list[PatchGrant] = Field(max_length=256)


def _hours(text: str) -> str:
    try:
        parse_hours(text)
    except ValueError as error:
        refuse(text, link_hours.PATTERN, str(error))
    return text


LinkHours = Annotated[
    str,
    StringConstraints(max_length=link_hours.MAX_TEXT),
    AfterValidator(_hours),
    WithJsonSchema({"type": "string", "pattern": link_hours.PATTERN, "maxLength": link_hours.MAX_TEXT}),
]
"""UTC, for example ``22-6,12-13:30``; "" is any time."""
MAX_LINK_RATE = 10**12
LinkRate = Annotated[int, Field(ge=0, le=MAX_LINK_RATE)]


class LinkRules(Message):
    """How much of its link a device may use for bundles. What is absent is left to the settings of the device."""

    bytes_per_second: LinkRate | None = Field(default=None, alias="bytesPerSecond", description="0: no limit.")
    hours: LinkHours | None = Field(default=None, description="Hours of the day in UTC, 22-6,12-13:30; empty: any.")


class DesiredProperties(Message):
    """The desired properties of the module twin: what the cloud wants of a device offline for weeks."""

    version: Literal[1] = 1
    outbox: OutboxAccess | None = None
    patches: PatchAccess | None = None
    paused: bool = False
    keep_images: list[ImageId] = Field(default_factory=list, alias="keepImages")
    revoked_bundles: list[ShortText] = Field(default_factory=list, alias="revokedBundles")
    memory_bytes: int = Field(default=128 * 1024 * 1024, alias="memoryBytes")
    inventory_every_seconds: int = Field(default=86_400, alias="inventoryEverySeconds", ge=1)
    poll_every_seconds: int = Field(default=60, alias="pollEverySeconds", ge=1)
    link: LinkRules | None = None
    resync: int = Field(default=0, description="An inventory is sent when this number changed.")


M = TypeVar("M", bound=Message)


def to_json(message: Message) -> bytes:
    """Compact UTF-8 JSON with the wire's camelCase names; absent values are left out."""
    return message.model_dump_json(by_alias=True, exclude_none=True).encode()


def parse_report(body: bytes) -> Report:
    """Raises: ContentError ``content.malformed_message`` naming the field that does not fit."""
    return _parse(Report, _bounded(body))


def parse_inventory(body: bytes) -> Inventory:
    """Parse the wire form; decompression stops at ``MAX_INVENTORY_BYTES``.

    Raises: ContentError ``content.malformed_message``; LimitExceeded for a gzip bomb.
    """
    return _parse(Inventory, _gunzip(_bounded(body)))


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_MESSAGE_BYTES:
        raise LimitExceeded(f"message of {len(body)} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    return body


def _gunzip(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, MAX_INVENTORY_BYTES)
    except zlib.error as error:
        raise ContentError(f"inventory is not gzip: {error}", code="content.malformed_message") from error
    if inflater.unconsumed_tail:
        raise LimitExceeded(f"inventory inflates to more than {MAX_INVENTORY_BYTES} bytes")
    return plain


def _parse(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ContentError(f"{where or 'body'}: {problem}", code="content.malformed_message") from error
