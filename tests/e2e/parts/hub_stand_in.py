"""What IoT Hub does behind its MQTT endpoint, for one module: keeps messages, answers for the twin.

A client of the broker; topics and answers as documented.
Source: learn.microsoft.com, "Communicate with an IoT hub using the MQTT protocol".
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import paho.mqtt.client as mqtt

from contracts.messages import Inventory, Report, parse_inventory, parse_report
from tests.e2e.host_process import wait_for
from tests.e2e.parts.broker import Broker
from triggers.hub_events import HubMessage

_EVENTS = re.compile(r"devices/([^/]+)/modules/([^/]+)/messages/events/(.*)")
_REQUEST = re.compile(r"\$iothub/twin/(GET|PATCH/properties/reported)/\?\$rid=(.+)")
_SYSTEM = {"$.mid": "message-id", "$.ct": "content-type", "$.ce": "content-encoding"}
_MAX_REPORTED = 32 * 1024


class HubStandIn:
    def __init__(self, broker: Broker) -> None:
        self.messages: list[HubMessage] = []
        """In the order of arrival, repetitions included."""
        self.desired: dict[str, Any] = {"$version": 1}
        self.reported: dict[str, Any] = {"$version": 1}
        self.asked = 0
        """How often the whole twin was asked for."""
        self.status: int | None = None
        """Answered to every request for the twin; 0: no answer at all."""
        self._lock = threading.Lock()
        self._client = mqtt.Client(client_id="cloud", clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._arrived
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.connect_async("127.0.0.1", broker.port)
        self._client.loop_start()

    def wait_until_ready(self) -> HubStandIn:
        assert self._subscribed.wait(20)
        return self

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def ids(self) -> list[str]:
        """Of the messages, each once, in the order in which they came first."""
        return list(dict.fromkeys(str(message.system["message-id"]) for message in self.messages))

    @property
    def reports(self) -> list[Report]:
        """Each once, as the cloud takes them."""
        return [parse_report(message.body) for message in self._firsts("report")]

    @property
    def inventories(self) -> list[Inventory]:
        return [parse_inventory(message.body) for message in self._firsts("inventory")]

    def desire(self, patch: Mapping[str, Any], *, told: bool = True) -> None:
        """Change desired properties; a module that listens is told, unless the word gets lost."""
        with self._lock:
            version = self.desired["$version"] + 1
            self.desired = merge(self.desired, {**patch, "$version": version})
        if told:
            topic = f"$iothub/twin/PATCH/properties/desired/?$version={version}"
            self._client.publish(topic, json.dumps({**patch, "$version": version}), qos=0)

    def wait_for(self, look: Callable[[HubStandIn], Any], seconds: float = 60.0) -> Any:
        return wait_for(lambda: look(self), seconds)

    def _firsts(self, kind: str) -> list[HubMessage]:
        found: dict[str, HubMessage] = {}
        for message in [*self.messages]:
            if message.properties["kind"] == kind:
                found.setdefault(str(message.system["message-id"]), message)
        return list(found.values())

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        wanted = ("devices/#", "$iothub/twin/GET/#", "$iothub/twin/PATCH/properties/reported/#")
        client.subscribe([(topic, 1) for topic in wanted])

    def _arrived(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if found := _EVENTS.fullmatch(message.topic):
            self.messages.append(_message(unquote(found[1]), unquote(found[2]), found[3], message.payload))
        elif found := _REQUEST.fullmatch(message.topic):
            self._answer(found[1], found[2], message.payload)

    def _answer(self, request: str, number: str, body: bytes) -> None:
        status, answer = (self.status, b"") if self.status is not None else self._twin(request, body)
        if status:
            self._client.publish(f"$iothub/twin/res/{status}/?$rid={number}", answer, qos=0)

    def _twin(self, request: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            if request == "GET":
                self.asked += 1
                return 200, json.dumps({"desired": self.desired, "reported": self.reported}).encode()
            reported = merge(self.reported, json.loads(body))
            if len(json.dumps(reported)) > _MAX_REPORTED:
                return 400, b""
            self.reported = {**reported, "$version": self.reported["$version"] + 1}
            return 204, b""


def merge(properties: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """As a twin does: null removes, objects are merged."""
    result = dict(properties)
    for name, value in patch.items():
        old = result.pop(name, None)
        if isinstance(value, dict):
            result[name] = merge(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            result[name] = value
    return result


def _message(device: str, module: str, bag: str, body: bytes) -> HubMessage:
    pairs = [pair.partition("=") for pair in bag.split("&") if pair]
    given = {unquote(name): unquote(value) for name, _, value in pairs}
    system = {_SYSTEM[name]: value for name, value in given.items() if name in _SYSTEM}
    sender = {"iothub-connection-device-id": device, "iothub-connection-module-id": module}
    own = {name: value for name, value in given.items() if not name.startswith("$")}
    return HubMessage({**system, **sender}, own, body)
