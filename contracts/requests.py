"""Bodies of the HTTP interface that callers send; the OpenAPI document is generated from them.

Source: docs/api.md. Unknown fields are refused: a misspelt option must not be silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from contracts.messages import DeviceId, LinkHours, LinkRate, Platform
from contracts.parameters import Moment
from contracts.records import ReleaseBy
from contracts.refusals import refuse, status_of
from imagedelta import names
from imagedelta.errors import RequestError


def _reference(text: str) -> str:
    try:
        return names.spelled(text)
    except RequestError as error:
        refuse(text, names.PATTERN, str(error))


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
ValueName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._<>/-]{0,127}$")]
"""Of a place in a template: ``MODULES.app.amd64``, ``MODULEDIR<modules/app>``."""
Reference = Annotated[
    str,
    StringConstraints(max_length=names.MAX_NAME),
    AfterValidator(_reference),
    WithJsonSchema({"type": "string", "pattern": names.PATTERN, "maxLength": names.MAX_NAME}),
]
"""In any of its spellings; kept in the one of imagedelta.names."""
RegistryAddress = Annotated[str, StringConstraints(pattern=names.ADDRESS_PATTERN, max_length=names.MAX_NAME)]
_NO_SPACE = r"[^@\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f]"
r"""Spelt out: what ``\s`` means differs between readers of a JSON schema."""
HubDeviceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$")]
"""Source: learn.microsoft.com, "Device identity properties" of IoT Hub."""
Email = Annotated[str, StringConstraints(pattern=rf"^{_NO_SPACE}{{1,64}}@{_NO_SPACE}{{1,189}}$")]
Priority = Literal["urgent", "normal", "background"]
Tags = dict[Name, Annotated[str, StringConstraints(max_length=256, strip_whitespace=True)]]
"""Values compare by case; spaces around them are dropped."""
MAX_TAGS = 32
_TAGS = TypeAdapter(Tags)
_DEVICE_ID = TypeAdapter(DeviceId)


def is_device_id(text: str) -> bool:
    """Whether a device may have it as its own."""
    try:
        return bool(_DEVICE_ID.validate_python(text))
    except ValidationError:
        return False


def tag_of(name: str, value: object) -> str | None:
    """A tag as its hub has it, as one of ours; None when it cannot be one."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not isinstance(value, str | int | float) or not text.strip():
        return None
    try:
        return _TAGS.validate_python({name: text})[name]
    except ValidationError:
        return None


def _in_variants(schema: dict[str, Any], alternatives: Sequence[str]) -> dict[str, Any]:
    """A whole schema for each alternative: generators of clients and of tests make little of ``oneOf`` beside
    ``properties``."""
    title, description = schema["title"], schema.pop("description", "")
    variants = [
        schema
        | {
            "title": f"{title}By{given.capitalize()}",
            "properties": {**schema["properties"], **_only(given, alternatives, schema["properties"])},
            "required": [*schema.get("required", ()), given],
        }
        for given in alternatives
    ]
    return {"title": title, "description": description, "oneOf": variants}


def _only(given: str, alternatives: Sequence[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` may not be null, the other alternatives must be."""
    own = {key: value for key, value in properties[given].items() if key not in ("anyOf", "default")}
    value = next(option for option in properties[given]["anyOf"] if option != {"type": "null"})
    return {name: {**own, **value} if name == given else {"type": "null"} for name in alternatives}


def _whole(value: object) -> object:
    """To a JSON schema 5.0 is an integer, and some languages write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, Field(gt=0, lt=2**63), BeforeValidator(_whole)]


class RequestBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )
    alternatives: ClassVar[tuple[str, ...]] = ()
    """Fields of which a caller gives exactly one; null is as good as absent."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in self.alternatives if getattr(self, name) is not None]
        if self.alternatives and len(given) != 1:
            raise ValueError(f"name exactly one of {', '.join(self.alternatives)}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        if cls.alternatives:
            described = handler.resolve_ref_schema(schema)
            variants = _in_variants(dict(described), cls.alternatives)
            described.clear()
            described.update(variants)
        return schema


class RegisterImage(RequestBody):
    """Register an image from an archive in intake, another blob, or a registry. Exactly one of the three."""

    alternatives = ("upload", "blob", "registry")

    reference: Reference | None = Field(default=None, description="Friendly name:tag; the archive's own when absent.")
    platform: Platform | None = Field(
        default=None, description="What the image is for, where its config says something else or nothing."
    )
    upload: Name | None = Field(default=None, description="The id that POST /api/uploads gave.")
    blob: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        default=None, description="container/name of an archive."
    )
    registry: Reference | None = Field(default=None, description="registry host/repository:tag or @digest.")


class EnrolDevice(RequestBody):
    """Enrol a device, or change what is known of it."""

    hub: Name
    hub_device_id: HubDeviceId | None = Field(
        default=None, description="Its id in the hub; the device's own when absent, or what it was."
    )
    platform: Platform = "linux/amd64"
    also_runs: list[Platform] = Field(
        default_factory=list, max_length=16, description="Further platforms that the device runs, best first."
    )
    tags: Tags = Field(default_factory=dict, max_length=MAX_TAGS)
    registry_address: RegistryAddress | None = Field(
        default="localhost:5000", description="Where modules on the device pull from."
    )
    bytes_per_second: float | None = Field(default=None, gt=0, description="Of the link, for the plan's hours.")
    money_per_megabyte: float | None = Field(default=None, ge=0)
    link_rate: Annotated[LinkRate, BeforeValidator(_whole)] | None = Field(
        default=None,
        description="The most bytes a second that bundles may take of its link; 0: no limit; null: as it is set.",
    )
    link_hours: LinkHours | None = Field(
        default=None,
        description="Hours (UTC) in which it fetches bundles: 22-6,12-13:30; empty: any; null: as it is set.",
    )


class RebindDevice(RequestBody):
    """Give a device another identity: of another hub, or another one of its hub. What is known of it stays."""

    hub: Name
    hub_device_id: HubDeviceId | None = Field(default=None, description="Its id there; what it was when absent.")


class Owner(RequestBody):
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    email: Email


class DeviceSelection(RequestBody):
    """Devices by id, or by a tag query: ``tags.site = 'north' and tags.kind != 'truck'``."""

    alternatives = ("ids", "query")

    ids: list[DeviceId] | None = Field(default=None, min_length=1, max_length=10_000)
    query: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None


class StartDeployment(RequestBody):
    """Start a deployment set: images named by a manifest (or listed) x devices."""

    alternatives = ("manifest", "images")

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    workstream: Name = "default"
    owner: Owner | None = Field(
        default=None,
        description="Who is written to. With a person's token it is that person and may be left out; others name one.",
    )
    devices: DeviceSelection
    manifest: dict[str, Any] | None = Field(default=None, description="IoT Edge deployment manifest or template.")
    images: list[Reference] | None = Field(
        default=None, min_length=1, max_length=200, description="Instead of a manifest."
    )
    values: dict[ValueName, str] = Field(default_factory=dict, description="What ${NAME} in a template stands for.")
    priority: Priority | None = Field(default=None, description="Overrides what priorities.yaml says.")
    release: Literal["set", "device", "manual"] = "set"
    release_by: ReleaseBy = Field(
        default="auto",
        description="How manifests reach devices: written to each (device); by one layered deployment for all whose "
        "content is the same, put on a device by a tag of its twin (condition); or as each device is deployed to "
        "already (auto).",
    )
    canaries: list[DeviceId] = Field(default_factory=list, max_length=1000)
    deadline: Moment | None = None
    max_bytes_per_device: Count | None = None
    max_bytes: Count | None = Field(default=None, description="Of the whole set; above it the set waits for approval.")
    allow_full_bundles: bool = True


class StartRollback(RequestBody):
    """Roll a released set back: a new set of its own, with the images and manifest the devices had before."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = Field(
        default=None, description="Of the new set; made from the old one's when absent."
    )
    owner: Owner | None = Field(
        default=None, description="As when a set is started; with a function key the old set's owner when absent."
    )


def parse_body(model: type[RequestBody], body: bytes) -> Any:
    """An instance of ``model``; a value of another JSON type than its field's is refused, not converted.

    Raises: RequestError ``request.invalid`` (400, or 422: contracts.refusals) naming every field that does not fit.
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False)[:10]
        )
        raise RequestError(problems, status=status_of(error)) from error
