"""Settings of the module, from environment variables; docs in edge_module/README.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.link_hours import parse_hours
from contracts.messages import MAX_LINK_RATE, LinkRules
from edge_module.hub_azure import AzureAccess, Proxy
from edge_module.logs import FORMATS as LOG_FORMATS
from edge_module.sas_token import ModuleConnection, connection_from_text, parts_of_connection
from imagedelta.bundles import PublicKey, read_trusted_keys
from imagedelta.errors import RequestError
from imagedelta.names import is_host
from imagedelta.platforms import machine_platform, parse_platforms

ENGINES = ("auto", "registry", "docker", "layout")
NO_REGISTRY = "http://none"
MAX_PLATFORMS = 16
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_MIB = 1024 * 1024
_MAX_TEXT_BYTES = 64 * 1024
_PROXIES = {"http": ("HTTP", 8080), "socks4": ("SOCKS4", 1080), "socks5": ("SOCKS5", 1080)}
"""Scheme → the SDK's name and the usual port."""


@dataclass(frozen=True)
class Settings:
    root: Path
    engine: str
    platforms: tuple[str, ...]
    """What this device runs, best first."""
    memory_bytes: int
    """The most an apply may need, whatever the cloud says; bytes."""
    reserve_bytes: int
    """Free disk that is never filled."""
    poll_seconds: float | None
    """Overrides the desired property pollEverySeconds."""
    stable_seconds: float
    """A file of another tool in the inbox is looked at when nobody has written to it for so long."""
    incomplete_seconds: float
    """An unfinished file to which nobody has written for so long gives way when its room is needed."""
    silence_seconds: float
    """A link that brings no byte for so long is broken."""
    remove_images: bool
    """Whether images that the cloud sent and no longer wants kept may be removed."""
    shared_bundles: bool
    """Whether the cloud may leave patches in a place that many devices read; no, where another tool fetches."""
    registry_address: str = "http://localhost:5000"
    """Of the device's own registry, as this module reaches it."""
    registry_login: str = ""
    """``user:password`` for Basic authentication; "" where none is wanted."""
    registry_shared: Path | None = None
    """Folder shared with what runs the registry."""
    pull_address: str = ""
    """``HOST[:PORT]`` by which manifests and the daemon know the registry; "" means by which the module does."""
    docker_address: str = "unix:///var/run/docker.sock"
    link: LinkRules = field(default_factory=LinkRules)
    """What the desired property ``link`` does not say."""


def read_settings_file(path: Path) -> dict[str, str]:
    """``NAME=value`` lines, as Docker's ``--env-file`` takes them; empty lines and those that start with # are skipped.

    Raises: RequestError ``device.settings``: it cannot be read, or a line is no such pair.
    """
    found = {}
    for number, line in enumerate(_read_text(path, "--settings").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            name, separator, value = line.partition("=")
            if not separator or not name.isidentifier():
                raise RequestError(f"{path}, line {number}: not NAME=value", code="device.settings")
            found[name] = value
    return found


def settings_from_environment(environment: Mapping[str, str]) -> Settings:
    """Raises: RequestError ``device.settings`` naming the variable that is missing or wrong."""
    root = environment.get("IMAGEDELTA_ROOT", "")
    if not root:
        raise _wrong("IMAGEDELTA_ROOT", "is not set: name the folder this module keeps everything in")
    poll = environment.get("IMAGEDELTA_POLL_SECONDS")
    return Settings(
        root=Path(root),
        engine=_engine(environment.get("IMAGEDELTA_ENGINE", "layout")),
        platforms=_platforms(environment.get("IMAGEDELTA_PLATFORM")),
        memory_bytes=int(_number(environment, "IMAGEDELTA_MEMORY_BYTES", 128 * _MIB)),
        reserve_bytes=int(_number(environment, "IMAGEDELTA_RESERVE_BYTES", 64 * _MIB)),
        poll_seconds=None if poll is None else _number(environment, "IMAGEDELTA_POLL_SECONDS", 0),
        stable_seconds=_number(environment, "IMAGEDELTA_STABLE_SECONDS", 5),
        incomplete_seconds=_number(environment, "IMAGEDELTA_INCOMPLETE_SECONDS", 86_400),
        silence_seconds=_number(environment, "IMAGEDELTA_SILENCE_SECONDS", 60),
        remove_images=_truth(environment, "IMAGEDELTA_REMOVE_IMAGES", "no"),
        shared_bundles=_truth(environment, "IMAGEDELTA_SHARED_BUNDLES", "yes"),
        registry_address=_registry(environment.get("IMAGEDELTA_REGISTRY") or "localhost:5000"),
        registry_login=_registry_login(environment.get("IMAGEDELTA_REGISTRY_LOGIN", "")),
        pull_address=_pull_address(environment.get("IMAGEDELTA_PULL_ADDRESS", "")),
        docker_address=environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock",
        registry_shared=Path(shared) if (shared := environment.get("IMAGEDELTA_REGISTRY_SHARED")) else None,
        link=_link(environment),
    )


def log_from_environment(environment: Mapping[str, str]) -> tuple[str, str]:
    """Level and form of the log. Raises: RequestError ``device.settings``."""
    level = environment.get("IMAGEDELTA_LOG_LEVEL", "INFO").upper()
    form = environment.get("IMAGEDELTA_LOG_FORMAT", "text")
    for name, value, known in (
        ("IMAGEDELTA_LOG_LEVEL", level, LOG_LEVELS),
        ("IMAGEDELTA_LOG_FORMAT", form, LOG_FORMATS),
    ):
        if value not in known:
            raise _wrong(name, f"is {value[:60]!r}: known are {', '.join(known)}")
    return level, form


def hub_from_environment(environment: Mapping[str, str]) -> ModuleConnection | AzureAccess:
    """Which hub the module talks to, and as whom.

    IMAGEDELTA_HUB, the module's connection string or the path of a file with it, goes first: one whose HostName is a
    URL means the hub of an embedded host, any other Azure IoT Hub. Without it IoT Edge's own variables say it.
    """
    value = environment.get("IMAGEDELTA_HUB", "")
    if not value:
        return _edge_access(environment)
    text = value if value.startswith("HostName=") else _read_text(Path(value), "IMAGEDELTA_HUB").strip()
    connection = connection_from_text(text)
    if "://" in connection.host:
        return connection
    authority = environment.get("IMAGEDELTA_HUB_CA", "")
    return AzureAccess(
        device_id=connection.device_id,
        connection=text,
        authority=_read_text(Path(authority), "IMAGEDELTA_HUB_CA") if authority else "",
        websockets=_truth(environment, "IMAGEDELTA_HUB_WEBSOCKETS", "no"),
        proxy=_proxy(environment.get("IMAGEDELTA_HUB_PROXY", "")),
    )


def _edge_access(environment: Mapping[str, str]) -> AzureAccess:
    """edgeHub is on this device: it needs no proxy, and its certificate is known by the workload API."""
    device_id = environment.get("IOTEDGE_DEVICEID", "")
    if "IOTEDGE_WORKLOADURI" not in environment:  # IoT Edge's variables for development
        device_id = parts_of_connection(environment.get("EdgeHubConnectionString", "")).get("DeviceId", "")
    if not device_id:
        raise _wrong(
            "IMAGEDELTA_HUB",
            "is not set, and IoT Edge has not started this module: give its connection string or a file with it",
        )
    return AzureAccess(device_id, None, websockets=_truth(environment, "IMAGEDELTA_HUB_WEBSOCKETS", "no"))


def _proxy(text: str) -> Proxy | None:
    if not text:
        return None
    try:
        url = urlsplit(text)
        kind, port = _PROXIES[url.scheme]
        if not url.hostname:
            raise ValueError("no host")
        return Proxy(kind, url.hostname, url.port or port, _plain(url.username), _plain(url.password))
    except (KeyError, ValueError):
        raise _wrong(
            "IMAGEDELTA_HUB_PROXY", "is no http://host:port, socks4://host:port or socks5://[user:password@]host:port"
        ) from None


def _plain(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def trusted_keys_from_environment(environment: Mapping[str, str]) -> dict[str, PublicKey]:
    """IMAGEDELTA_KEYS names a file of public key lines, or a folder of ``*.pub`` files.

    Raises: RequestError ``device.settings`` (not set, no key in it), ``keys.invalid``.
    """
    value = environment.get("IMAGEDELTA_KEYS", "")
    if not value:
        raise _wrong("IMAGEDELTA_KEYS", "is not set: name the file or folder of public keys to trust")
    path = Path(value)
    keys: dict[str, PublicKey] = {}
    for file in sorted(path.glob("*.pub")) if path.is_dir() else [path]:
        keys |= read_trusted_keys(file)
    if not keys:
        raise _wrong("IMAGEDELTA_KEYS", f"names {value}, which holds no public key")
    return keys


def _engine(name: str) -> str:
    if name in ENGINES:
        return name
    raise _wrong("IMAGEDELTA_ENGINE", f"is {name[:60]!r}: known are {', '.join(ENGINES)}")


def _registry(address: str) -> str:
    """``HOST[:PORT]`` is spoken to without TLS: it is on this device."""
    scheme, separator, rest = address.rpartition("://")
    host = rest.rstrip("/")
    if scheme not in ("", "http", "https") or (separator and not scheme) or not is_host(host):
        raise _wrong("IMAGEDELTA_REGISTRY", f"is {address[:100]!r}: give HOST[:PORT] or https://HOST[:PORT]")
    return f"{scheme or 'http'}://{host}"


def _pull_address(address: str) -> str:
    if address and not is_host(address):
        raise _wrong("IMAGEDELTA_PULL_ADDRESS", f"is {address[:100]!r}: give HOST[:PORT]")
    return address


def _registry_login(value: str) -> str:
    text = value if not value or ":" in value else _read_text(Path(value), "IMAGEDELTA_REGISTRY_LOGIN").strip()
    if text and text.find(":") < 1:
        raise _wrong("IMAGEDELTA_REGISTRY_LOGIN", "holds no user:password")
    return text


def _platforms(given: str | None) -> tuple[str, ...]:
    try:
        found = parse_platforms(given or machine_platform())
    except RequestError as error:
        raise _wrong("IMAGEDELTA_PLATFORM", f"{error}: give os/architecture[/variant], several with commas") from None
    if len(found) > MAX_PLATFORMS:
        raise _wrong("IMAGEDELTA_PLATFORM", f"names {len(found)} platforms, at most {MAX_PLATFORMS}")
    return found


def _link(environment: Mapping[str, str]) -> LinkRules:
    rate = int(_number(environment, "IMAGEDELTA_LINK_BYTES_PER_SECOND", 0))
    hours = environment.get("IMAGEDELTA_LINK_HOURS", "")
    try:
        parse_hours(hours)
    except ValueError as error:
        raise _wrong("IMAGEDELTA_LINK_HOURS", f"is {hours[:60]!r}: {error}") from error
    return LinkRules(bytesPerSecond=min(rate, MAX_LINK_RATE), hours=hours)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**63:
        raise _wrong(name, f"is {text[:60]!r}, not a number from 0 on")
    return value


def _truth(environment: Mapping[str, str], name: str, default: str) -> bool:
    text = environment.get(name, default).lower()
    if text not in ("yes", "no"):
        raise _wrong(name, f"is {text[:60]!r}: say yes or no")
    return text == "yes"


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_TEXT_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(name, f"names {path}, which cannot be read: {error}") from error


def _wrong(name: str, problem: str) -> RequestError:
    return RequestError(f"{name} {problem}", code="device.settings")
