"""host.json and local.settings.json: what the Functions host reads before it loads an app.

Not here: which functions exist (imagedelta_host.loader).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagedelta_host.errors import SettingInvalid
from imagedelta_host.timespans import seconds_of

_PERCENT = re.compile(r"%([^%\s]+)%")
_MAX_SETTINGS_BYTES = 1 << 20
_TEXT = r'("(?:\\.|[^"\\])*")'
_COMMENT = re.compile(_TEXT + r"|//[^\r\n]*|/\*.*?\*/", re.DOTALL)
_LAST_COMMA = re.compile(_TEXT + r"|,(?=\s*[}\]])", re.DOTALL)
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
    if not isinstance(value, dict):
        raise SettingInvalid(f"{path.name} must hold a JSON object")
    return value


def _strict(text: str) -> str:
    """The same as JSON in the strict sense; lines keep their numbers, for messages."""
    bare = _COMMENT.sub(lambda found: found[1] or "\n" * found[0].count("\n") or " ", text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", bare)


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
    overridable = str(durable.get("overridableExistingInstanceStates", "NonRunningStates"))
    cpus = os.cpu_count() or 1
    return HostSettings(
        route_prefix=str(_object(extensions, "http").get("routePrefix", "api")).strip("/"),
        hub_name=expand(str(durable.get("hubName", "TestHubName"))),
        max_activities=_count(durable, "maxConcurrentActivityFunctions", 10 * cpus),
        max_orchestrators=_count(durable, "maxConcurrentOrchestratorFunctions", 10 * cpus),
        replace_running=overridable.lower() == "anystate",
        event_batch=_count(_object(extensions, "eventHubs"), "maxEventBatchSize", 100),
        timeout_seconds=_timeout(document.get("functionTimeout")),
    )


def _timeout(value: object) -> float | None:
    """``functionTimeout``: a time span, ``-1`` for no limit."""
    if value is None:
        return DEFAULT_TIMEOUT_SECONDS
    return None if str(value).startswith("-1") else seconds_of(str(value))


def _object(parent: dict[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name, {})
    if not isinstance(value, dict):
        raise SettingInvalid(f'"{name}" in host.json must be an object')
    return value


def _count(parent: dict[str, Any], name: str, default: int) -> int:
    value = parent.get(name, default)
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
