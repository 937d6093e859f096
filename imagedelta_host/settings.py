"""host.json and local.settings.json: what the Functions host reads before it loads an app.

Not here: which functions exist (imagedelta_host.loader).
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.timespans import seconds_of

log = logging.getLogger("imagedelta_host")

_PERCENT = re.compile(r"%([^%\s]+)%")
_MAX_SETTINGS_BYTES = 1 << 20
_TEXT = r'("(?:\\.|[^"\\])*")'
_COMMENT = re.compile(_TEXT + r"|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(_TEXT + r"|,(?=\s*[}\]])", re.DOTALL)
_TASK_HUB = re.compile(r"[A-Za-z][A-Za-z0-9]{2,44}")
"""Of the Azure storage provider, the default; the sentence is its own."""
DEFAULT_TIMEOUT_SECONDS = 1800.0
"""Of the Flex Consumption and Premium plans."""


@dataclass(frozen=True)
class HostSettings:
    """The parts of host.json that this host honours, with the defaults of the real one.

    Attributes:
        route_prefix: First path segments of every HTTP function, without slashes; may be empty.
        hub_name: Name of the durable task hub, shown in management URLs.
        max_activities: How many activities run at the same time.
        max_orchestrators: How many orchestrators run at the same time.
        replace_running: Whether ``start_new`` may replace an instance that has not ended.
        event_batch: The most events in one invocation of an event hub trigger.
        timeout_seconds: How long an activity may run in a worker process; ``None`` for no limit.
        graceful_seconds: How long a shutdown waits for running activities.
    """

    route_prefix: str = "api"
    hub_name: str = "TestHubName"
    max_activities: int = 10
    max_orchestrators: int = 10
    replace_running: bool = False
    event_batch: int = 100
    timeout_seconds: float | None = DEFAULT_TIMEOUT_SECONDS
    graceful_seconds: float = 30.0


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty when there is no such file.

    Comments (``//`` and ``/* */``) and a comma after the last item are passed over, as the Functions host's reader
    (Newtonsoft.Json) does.

    Raises:
        SettingInvalid: The file is over 1 MiB or is not a JSON object.
    """
    if not path.is_file():
        return {}
    if path.stat().st_size > _MAX_SETTINGS_BYTES:
        raise SettingInvalid(f"{path.name} is larger than {_MAX_SETTINGS_BYTES} bytes")
    try:
        value = json.loads(_strict(path.read_text("utf-8-sig")))
    except ValueError as error:
        raise SettingInvalid(f"{path.name} is not JSON: {error}") from error
    except RecursionError as error:
        raise SettingInvalid(f"{path.name} is nested too deep") from error
    if not isinstance(value, dict):
        raise SettingInvalid(f"{path.name} must hold a JSON object")
    return value


def _strict(text: str) -> str:
    """The same as JSON in the strict sense; lines keep their numbers, for messages."""
    bare = _COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n") or " ", text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", bare)


_PLATFORM_AUTHENTICATION = "WEBSITE_AUTH_ENABLED"
"""Set by App Service where it validates tokens, and takes away what clients send as if it had."""


def apply_local_settings(app_dir: Path, environ: MutableMapping[str, str]) -> None:
    """Put the ``Values`` of local.settings.json into ``environ``; what is already set stays.

    Raises:
        SettingInvalid: The file is not JSON, or a value is not text, number or boolean.
    """
    values = read_json_object(app_dir / "local.settings.json").get("Values", {})
    if not isinstance(values, dict):
        raise SettingInvalid('"Values" in local.settings.json must be an object')
    for name, value in values.items():
        environ.setdefault(name, _setting_text(name, value))
    if environ.pop(_PLATFORM_AUTHENTICATION, None):
        log.warning("%s was taken away: nothing before this host authenticates callers", _PLATFORM_AUTHENTICATION)


def _setting_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise SettingInvalid(f"the value of {name} in local.settings.json must be text")


def load_host_settings(app_dir: Path) -> HostSettings:
    """Read host.json, as the real host does, with ``%NAME%`` expanded from the environment."""
    document = read_json_object(app_dir / "host.json")
    extensions = _object(document, "extensions")
    durable = _object(extensions, "durableTask")
    cpus = os.cpu_count() or 1
    return HostSettings(
        route_prefix=_text(_object(extensions, "http"), "routePrefix", "api").strip("/"),
        hub_name=_hub_name(durable),
        max_activities=_count(durable, "maxConcurrentActivityFunctions", 10 * cpus),
        max_orchestrators=_count(durable, "maxConcurrentOrchestratorFunctions", 10 * cpus),
        replace_running=_may_replace(durable),
        event_batch=_count(_object(extensions, "eventHubs"), "maxEventBatchSize", 100),
        timeout_seconds=_timeout(document.get("functionTimeout")),
    )


def _timeout(value: object) -> float | None:
    """``functionTimeout``: a time span, ``-1`` for no limit."""
    if value is None:
        return DEFAULT_TIMEOUT_SECONDS
    if str(value).startswith("-1"):
        return None
    try:
        return seconds_of(str(value))
    except SettingInvalid as error:
        raise SettingInvalid(f'"functionTimeout" in host.json: {error}') from error


def _hub_name(durable: dict[str, Any]) -> str:
    name = expand(_text(durable, "hubName", "TestHubName"))
    if not _TASK_HUB.fullmatch(name):
        raise SettingInvalid(
            f'Task hub name "{name}" in host.json should contain only alphanumeric characters, start with a letter, '
            "and have length between 3 and 45."
        )
    return name


def _may_replace(durable: dict[str, Any]) -> bool:
    name = "overridableExistingInstanceStates"
    states = _text(durable, name, "NonRunningStates").lower()
    if states not in ("nonrunningstates", "anystate"):
        raise SettingInvalid(f'"{name}" in host.json must be NonRunningStates or AnyState, not {states!r}')
    return states == "anystate"


def _given(parent: dict[str, Any], name: str, default: Any) -> Any:
    """To the real host null is the same as nothing."""
    value = parent.get(name)
    return default if value is None else value


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = _given(parent, name, {})
    if not isinstance(value, dict):
        raise SettingInvalid(f'"{name}" in host.json must be an object')
    return value


def _text(parent: dict[str, Any], name: str, default: str) -> str:
    value = _given(parent, name, default)
    if not isinstance(value, str):
        raise SettingInvalid(f'"{name}" in host.json must be text, not {value!r}')
    return value


def _count(parent: dict[str, Any], name: str, default: int) -> int:
    value = _given(parent, name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingInvalid(f'"{name}" in host.json must be a whole number above 0, not {value!r}')
    return value


def expand(text: str) -> str:
    """Replace every ``%NAME%`` by the setting of that name.

    Raises:
        SettingInvalid: A named setting does not exist; like the real host, it is not left as it is.
    """

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise SettingInvalid(f"{text!r} names the setting {match[1]}, which is not set")
        return found

    return _PERCENT.sub(value, text)


def is_disabled(function_name: str) -> bool:
    """Whether ``AzureWebJobs.<name>.Disabled`` (or its form with underscores, for Linux) is true."""
    names = (f"AzureWebJobs.{function_name}.Disabled", f"AzureWebJobs_{function_name}_Disabled")
    return any(os.environ.get(name, "").strip().lower() in ("true", "1") for name in names)
