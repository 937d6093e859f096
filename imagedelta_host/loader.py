"""Finds the functions of an app: imports function_app.py and indexes it by the rules of the Python worker.

Source: loader.index_function_app of azure-functions-runtime (one FunctionRegister at top level, under one name).
Not here: what Azure refuses in a function (imagedelta_host.indexing), running one (imagedelta_host.invoke), routes
(imagedelta_host.routes).
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azure.functions import FunctionRegister

from imagedelta.errors import ImageDeltaError
from imagedelta_host.errors import AppInvalid, BindingUnsupported
from imagedelta_host.function_retry import RetryPolicy
from imagedelta_host.indexing import refuse_what_azure_refuses
from imagedelta_host.settings import expand, is_disabled
from imagedelta_host.tracebacks import traceback_of

log = logging.getLogger("imagedelta_host")

HTTP = "httpTrigger"
TIMER = "timerTrigger"
EVENT_HUB = "eventHubTrigger"
ACTIVITY = "activityTrigger"
ORCHESTRATION = "orchestrationTrigger"
CLIENT = "durableClient"
RETURN = "$return"

_TRIGGERS = (HTTP, TIMER, EVENT_HUB, ACTIVITY, ORCHESTRATION)
_OTHER_BINDINGS = (CLIENT, "http")
_EXPANDED = ("route", "schedule", "eventHubName", "consumerGroup")


@dataclass(frozen=True)
class AppFunction:
    """One function of the app.

    Attributes:
        name: Its name in the app, unique.
        durable_name: The name orchestrators and clients call it by; ``name`` unless the trigger says otherwise.
        kind: The type of its trigger, one of the constants above.
        run: What the user wrote, wrapped by the SDK where it is an orchestrator or takes a client.
        trigger: The trigger as in function.json, with ``%NAME%`` expanded.
        clients: Names of the parameters that take a durable client.
        outputs: Names of the parameters that take an ``Out`` for an HTTP response.
        returns: Whether what it returns is an HTTP response.
        wants_context: Whether it has a parameter ``context`` that no binding fills.
        retry: The function-level retry policy, for timer and event hub triggers.
        disabled: Switched off by a setting: indexed and shown, never run by a trigger.
    """

    name: str
    durable_name: str
    kind: str
    run: Callable[..., Any]
    trigger: dict[str, Any] = field(repr=False)
    clients: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    returns: bool = False
    wants_context: bool = False
    retry: RetryPolicy | None = None
    disabled: bool = False

    @property
    def parameter(self) -> str:
        """The name of the parameter that takes the trigger's value."""
        return str(self.trigger["name"])

    @property
    def is_async(self) -> bool:
        """Whether the user wrote ``async def``."""
        return inspect.iscoroutinefunction(self.run)


def load_app(app_dir: Path) -> list[AppFunction]:
    """Import ``function_app.py`` in ``app_dir`` and index its functions; changes the working directory to it.

    Raises:
        AppInvalid: No such file, it fails to import, or Azure would not index it.
        ImageDeltaError: What the app itself raises of it, as it is.
        BindingUnsupported: A function that is not disabled uses another trigger or binding.
    """
    script = app_dir / "function_app.py"
    if not script.is_file():
        raise AppInvalid(f"there is no function_app.py in {app_dir}")
    sys.path.insert(0, str(app_dir))
    os.chdir(app_dir)
    found = _functions_of(_import(script))
    refuse_what_azure_refuses(found)
    functions = [_index(function) for function in found]
    _refuse_twins(functions)
    return functions


def _import(script: Path) -> Any:
    spec = importlib.util.spec_from_file_location("function_app", script)
    if spec is None or spec.loader is None:
        raise AppInvalid(f"{script} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    try:
        spec.loader.exec_module(module)
    except ImageDeltaError:
        raise  # it names what is wrong and what to do: nothing to add
    except Exception as error:
        log.error("%s fails to import\n%s", script, traceback_of(error))
        raise AppInvalid(f"{script} fails to import: {type(error).__name__}: {error}") from error
    return module


def _functions_of(module: Any) -> list[Any]:
    """The functions of the one app, as azure.functions builds them; refusals are the worker's and the SDK's."""
    apps = [value for value in vars(module).values() if isinstance(value, FunctionRegister)]
    if not apps:
        raise AppInvalid("Could not find top level function app instances in function_app.py.")
    if len(apps) > 1:
        kind = type(apps[0]).__name__
        raise AppInvalid(f"More than one {kind} or other top level function app instances are defined.")
    try:
        return list(apps[0].get_functions())
    except Exception as error:
        raise AppInvalid(str(error)) from error


def _index(function: Any) -> AppFunction:
    name = str(function.get_function_name())
    bindings = [json.loads(text) for text in function.get_raw_bindings()]
    trigger = _trigger(name, json.loads(json.dumps(bindings)), str(function.get_trigger().name))
    disabled = is_disabled(name)
    if not disabled:
        _refuse_unknown(name, bindings)
        trigger = _expanded(trigger)
    run = function.get_user_function()
    clients = tuple(str(binding["name"]) for binding in bindings if binding["type"] == CLIENT)
    http = [str(binding["name"]) for binding in bindings if binding["type"] == "http"]
    taken = {str(binding.get("name")) for binding in bindings}
    return AppFunction(
        name=name,
        durable_name=str(trigger.get("orchestration") or trigger.get("activity") or name),
        kind=str(trigger["type"]),
        run=run,
        trigger=trigger,
        clients=clients,
        outputs=tuple(name for name in http if name != RETURN),
        returns=RETURN in http,
        wants_context="context" in inspect.signature(run).parameters and "context" not in taken,
        retry=RetryPolicy.from_setting(function.get_settings_dict("retry_policy")),
        disabled=disabled,
    )


def _trigger(name: str, bindings: list[dict[str, Any]], parameter: str) -> dict[str, Any]:
    for binding in bindings:
        if binding.get("name") == parameter and str(binding["type"]).lower().endswith("trigger"):
            return binding
    raise AppInvalid(f"the function {name} has no trigger")


def _refuse_unknown(name: str, bindings: list[dict[str, Any]]) -> None:
    for binding in bindings:
        kind = str(binding["type"])
        if kind not in _TRIGGERS + _OTHER_BINDINGS:
            raise BindingUnsupported(
                f"the function {name} uses the binding {kind}, which the embedded host does not serve; "
                f"set AzureWebJobs.{name}.Disabled=true to start without it"
            )


def _expanded(trigger: dict[str, Any]) -> dict[str, Any]:
    return {
        key: expand(value) if key in _EXPANDED and isinstance(value, str) else value for key, value in trigger.items()
    }


def _refuse_twins(functions: list[AppFunction]) -> None:
    seen: set[tuple[str, str]] = set()
    for function in functions:
        key = (function.kind, function.durable_name.lower())
        if function.kind in (ACTIVITY, ORCHESTRATION) and key in seen:
            raise AppInvalid(f"two functions are called {function.durable_name} ({function.kind})")
        seen.add(key)
