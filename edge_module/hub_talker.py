"""The process that talks to Azure IoT Hub or to edgeHub: one connection of azure-iot-device, then it ends.

The SDK runs here, apart from the module, because what it may do cannot be undone from within: its calls have no
deadline, all its clients share one thread that a hanging call holds for ever, and its threads keep a process from
ending. Whoever asks (edge_module.hub_session) ends this process when an answer is late.

Requests come as lines of JSON on stdin, answers go as lines to stdout, in order; between them ``{"changed": true}``
when the desired properties may be others now. The end of stdin, or of the connection, ends the process.
Not here: when to connect again, what to do with an answer (edge_module.hub_azure).
"""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, BinaryIO

from edge_module.twin_patch import merged

TOKEN_SECONDS = 86_400
"""Life of a token. It is made by the device's clock, which may be slow by almost as much."""
KEEP_ALIVE_SECONDS = 240
"""The SDK's MQTT ends a connection that brought nothing for twice as long, also while a large message is on its way up:
300 bytes a second are enough for 140 KB. A quarter of the usual pings."""
_TRIES = 3
_REFUSED = ("status 400", "status 413")
Document = dict[str, Any]


class Talker:
    """Answers requests by one client of the SDK."""

    def __init__(self, tell: Callable[[Document], None]) -> None:
        self._tell = tell
        self._client: Any = None
        self._listens = False
        self._lock = threading.Lock()
        self._desired: Document | None = None
        self._newest = 0
        """The highest version that a patch has brought."""

    def open(self, request: Document) -> Document:
        self._client = _client(request)
        self._client.connect()
        self._client.on_connection_state_change = self._moved
        return {}

    def send(self, request: Document) -> Document:
        message = _sdk().Message(
            base64.b64decode(request["body"]),
            message_id=request["id"],
            content_type=request["type"],
            content_encoding=request["encoding"] or None,
        )
        message.custom_properties.update(request["properties"])
        self._client.send_message(message)
        return {}

    def twin(self, _: Document) -> Document:
        """The desired properties: asked for once, then kept up by what the hub tells."""
        if not self._listens:
            self._client.on_twin_desired_properties_patch_received = self._patched
            self._listens = True
        for _try in range(_TRIES):
            with self._lock:
                if self._desired is not None:
                    return {"desired": self._desired}
            fetched = self._client.get_twin().get("desired") or {}
            with self._lock:
                if _version(fetched) >= self._newest:  # else a patch has come while this answer was on its way
                    self._desired = fetched
        return {"desired": fetched}

    def report(self, request: Document) -> Document:
        self._client.patch_twin_reported_properties(request["properties"])
        return {}

    def close(self, _: Document) -> Document:
        self._client.on_connection_state_change = None
        self._client.disconnect()
        return {}

    def _patched(self, patch: Document) -> None:
        with self._lock:
            self._newest = max(self._newest, _version(patch))
            known, self._desired = self._desired, None
            if known is not None and _version(patch) == _version(known) + 1:
                self._desired = merged(known, patch)
            elif known is not None and _version(patch) <= _version(known):
                self._desired = known
        self._tell({"changed": True})

    def _moved(self) -> None:
        if not self._client.connected:
            os._exit(0)  # whoever waits for an answer sees the end of this process


def _sdk() -> Any:
    """Imported when it is needed: it takes a second on a small device, and tests of this file do without."""
    from azure.iot import device

    return device


def _client(request: Document) -> Any:
    sdk, proxy = _sdk(), request["proxy"]
    options = {
        "websockets": request["websockets"],
        "proxy_options": sdk.ProxyOptions(**proxy) if proxy else None,
        "sastoken_ttl": TOKEN_SECONDS,
        "keep_alive": KEEP_ALIVE_SECONDS,
        "auto_connect": False,
        "connection_retry": False,
        "ensure_desired_properties": False,
    }
    if request["connection"] is None:
        return sdk.IoTHubModuleClient.create_from_edge_environment(**options)
    authority = request["authority"] or None
    return sdk.IoTHubModuleClient.create_from_connection_string(
        request["connection"], server_verification_cert=authority, **options
    )


def _version(document: Mapping[str, Any]) -> int:
    version = document.get("$version")
    return version if isinstance(version, int) else 0


def _answer(talker: Talker, request: Document) -> Document:
    """``done`` with what was asked for, ``refused`` for good, ``busy`` when the hub said so, ``failed`` else."""
    try:
        return {"done": getattr(talker, request["do"])(request)}
    except ValueError as error:  # of a message: too large
        kind = "refused" if request["do"] == "send" else "failed"
        return {kind: _story(error)}
    except Exception as error:
        story = _story(error)
        if "ServiceError" in story:  # the hub has answered: the connection is well
            return {"refused" if any(text in story for text in _REFUSED) else "busy": story}
        return {"failed": story}


def _story(error: BaseException | None) -> str:
    """The SDK hides what happened behind two or three errors of its own."""
    told: list[str] = []
    while error is not None and len(told) < 6:
        told.append(f"{type(error).__name__} {error}".strip())
        error = error.__cause__ or error.__context__
    return ": ".join(told)[:1000]


def _read(stream: BinaryIO, requests: SimpleQueue[Document]) -> None:
    for line in stream:
        requests.put(json.loads(line))
    os._exit(0)  # whoever asked is gone; nothing here is worth waiting for


def main() -> None:
    os.nice(10)  # weeks without a link are thousands of starts, beside applications that must not notice
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints is no answer
    logging.disable(logging.CRITICAL)  # what matters is in the answers
    telling = threading.Lock()

    def tell(answer: Document) -> None:
        with telling:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()

    requests: SimpleQueue[Document] = SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    talker = Talker(tell)
    while True:
        request = requests.get()
        answer = _answer(talker, request)
        tell(answer)
        if "failed" in answer or request["do"] == "close":
            os._exit(0)


if __name__ == "__main__":
    main()
