"""Settings of the IoT hubs: ``IMAGEDELTA_HUBS`` names them, ``IMAGEDELTA_HUB_<NAME>_…`` says what is true of each."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from services.hubs.connection import HubConnection
from services.setting_values import Values

_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?")
"""Of Azure IoT Hub; it becomes part of a function's name and of variables."""
_CLIENTS = ("auto", "sdk", "rest")
_SYNCS = ("off", "tags", "enrol")
_MAX_UNITS = 200
"""Of one hub. Source: learn.microsoft.com, "Azure IoT Hub pricing", editions S1 and S2."""


@dataclass(frozen=True)
class HubSettings:
    name: str
    connection: HubConnection
    """To the hub's service side."""
    client: str = "auto"
    """``sdk``: Azure's library; ``rest``: by ourselves; ``auto``: the library where it can be."""
    units: int = 1
    """What the hub takes in a minute grows with them."""
    sync: str = "off"
    """``tags``: those of known devices are taken from the hub; ``enrol``: new devices, too."""
    enrol_tag: tuple[str, str] | None = None
    """Only devices that have this tag are enrolled."""


def hub_names(env: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """``IMAGEDELTA_HUBS=north,south``; locally the hubs of the embedded host."""
    text = env.get("IMAGEDELTA_HUBS") or env.get("LOCAL_IOTHUBS", "")
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def hub_variable(name: str, what: str, env: Mapping[str, str] = os.environ) -> str:
    """The variable that holds ``what`` (SERVICE, EVENTS …) of a hub: IMAGEDELTA_HUB_<NAME>_<WHAT>, or the
    LOCAL_IOTHUB_ one when only that is set."""
    own = own_variable(name, what)
    local = own.replace("IMAGEDELTA_HUB_", "LOCAL_IOTHUB_", 1)
    return local if env.get(local) and not env.get(own) else own


def own_variable(name: str, what: str) -> str:
    return f"IMAGEDELTA_HUB_{name.upper().replace('-', '_')}_{what}"


def read_hubs(read: Values) -> dict[str, HubSettings]:
    """The hubs that are configured well; a name may be used once, regardless of case, since hubs are found by DNS."""
    names = hub_names(read.env)
    taken = Counter(name.lower() for name in names)
    listed = "IMAGEDELTA_HUBS" if read.text("IMAGEDELTA_HUBS") else "LOCAL_IOTHUBS"
    hubs = {}
    for name in names:
        if not _HUB_NAME.fullmatch(name):
            read.wrong(listed, f"holds {name[:60]!r}: a hub's name is 1 to 50 letters, digits and dashes")
        elif taken[name.lower()] > 1:
            read.wrong(listed, f"holds {name} in two spellings: name each hub once")
        elif connection := _connection(read, name):
            client = read.choice(own_variable(name, "CLIENT"), "auto", _CLIENTS)
            units = read.number(own_variable(name, "UNITS"), 1, most=_MAX_UNITS)
            sync = read.choice(own_variable(name, "SYNC"), "off", _SYNCS)
            hubs[name] = HubSettings(name, connection, client, units, sync, _enrol_tag(read, name))
    return hubs


def _enrol_tag(read: Values, name: str) -> tuple[str, str] | None:
    variable = own_variable(name, "ENROL_TAG")
    tag, given, value = read.text(variable).partition("=")
    if not tag and not given:
        return None
    if not tag or not value:
        read.wrong(variable, "must be NAME=VALUE")
    return tag, value


def _connection(read: Values, name: str) -> HubConnection | None:
    variable = hub_variable(name, "SERVICE", read.env)
    text = read.text(variable)
    if not text:
        read.wrong(variable, f"is not set: give the service connection string of hub {name}, or its host name")
        return None
    try:
        return HubConnection.parse(text)
    except ValueError as error:
        read.wrong(variable, str(error))
        return None
