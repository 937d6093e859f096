"""The hub port on Azure IoT Hub, straight or through the device's edgeHub, by MQTT.

azure-iot-device talks, in a process of its own for each connection (edge_module.hub_session). Here is what it leaves
open: every answer has a deadline; a connection that failed is thrown away and made anew, after a pause that grows;
a token is never renewed within a connection: a new connection makes a new one, by the clock as it is then.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from contracts.messages import MAX_BODY_BYTES, DesiredProperties
from edge_module.backoff import Backoff
from edge_module.hub import Envelope, read_desired, wire_id
from edge_module.hub_session import Answer, Session
from edge_module.reported_limits import fitting
from imagedelta.errors import ContentError, DependencyError, RequestError

CONNECTION_SECONDS = 20 * 3600.0
"""A connection is made anew after so long, before its token (hub_talker.TOKEN_SECONDS) ends."""
_SLOWEST_BYTES = 300
"""A second: what a satellite phone carries."""
log = logging.getLogger("imagedelta.hub")


@dataclass(frozen=True)
class Proxy:
    """Named as azure-iot-device's ProxyOptions names it."""

    proxy_type: str
    """``HTTP``, ``SOCKS4`` or ``SOCKS5``."""
    proxy_addr: str
    proxy_port: int
    proxy_username: str | None = None
    proxy_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AzureAccess:
    """How the hub is reached, and as whom."""

    device_id: str
    connection: str | None = field(repr=False)
    """The module's connection string; None: IoT Edge's environment variables say it, its workload API signs."""
    authority: str = ""
    """PEM of who signed the hub's certificate; "": one of those the system trusts, or IoT Edge's own."""
    websockets: bool = False
    proxy: Proxy | None = None


class AzureHub:
    def __init__(
        self,
        access: AzureAccess,
        silence_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        between_seconds: float = 5.0,
    ) -> None:
        """Args:
        silence_seconds: A hub that does not answer for so long is not there.
        between_seconds: From one connection to the next, at least: each throws out whoever has the same identity.
        """
        self._access = access
        self._silence = silence_seconds
        self._monotonic = monotonic
        self._backoff = backoff or Backoff(1.0, 120.0)
        self._between = between_seconds
        self._next_try = 0.0
        self._asking = threading.Lock()
        self._session: Session | None = None
        self._made_at = 0.0
        self._closed = False
        self._wake: Callable[[], None] = lambda: None

    @property
    def device_id(self) -> str:
        return self._access.device_id

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def send(self, message: Envelope) -> None:
        size = len(message.body)
        if size > MAX_BODY_BYTES:
            raise RequestError(f"hub: a message of {size} bytes, {MAX_BODY_BYTES} at most", code="hub.refused")
        request = {
            "do": "send",
            "id": wire_id(message.message_id),
            "type": message.content_type,
            "encoding": message.content_encoding,
            "properties": {"kind": message.kind},
            "body": base64.b64encode(message.body).decode(),
        }
        self._ask(request, size)

    def desired(self) -> DesiredProperties:
        found = self._ask({"do": "twin"}).get("desired")
        if not isinstance(found, dict):
            raise ContentError("the desired properties are no object", code="content.malformed_message")
        return read_desired(found)

    def report_properties(self, properties: Mapping[str, Any]) -> None:
        self._ask({"do": "report", "properties": fitting(properties)})

    def close(self) -> None:
        self._closed = True
        session = self._session
        if session is None:
            return
        if self._asking.acquire(blocking=False):
            session.farewell()
            self._asking.release()
        session.kill()

    def _ask(self, request: Mapping[str, Any], size: int = 0) -> Mapping[str, Any]:
        with self._asking:
            answer = self._exchange(self._connected(), request, self._silence + size / _SLOWEST_BYTES)
            self._backoff.succeeded()
        if "refused" in answer:
            raise RequestError(f"hub: {answer['refused']}", code="hub.refused")
        if "busy" in answer:
            raise DependencyError(f"hub: {answer['busy']}", code="hub.busy")
        done: Mapping[str, Any] = answer["done"]
        return done

    def _connected(self) -> Session:
        """The connection, made if need be.

        Raises: DependencyError: it cannot be made, or it is too early to try again.
        """
        session = self._session
        if session is not None and session.alive and self._monotonic() - self._made_at < CONNECTION_SECONDS:
            return session
        self._drop()
        pause = self._next_try - self._monotonic()
        if pause > 0 or self._closed:
            raise DependencyError(f"hub: not connected, next try in {max(pause, 0):.0f} s", code="hub.unreachable")
        self._session = session = Session(lambda: self._wake())
        if self._closed:  # meanwhile, by another thread
            session.kill()
        self._exchange(session, self._opening(), self._silence)
        self._made_at = self._monotonic()
        self._next_try = self._made_at + self._between
        log.info("connected to the hub as %s", self._access.device_id)
        return session

    def _exchange(self, session: Session, request: Mapping[str, Any], seconds: float) -> Answer:
        """Raises: DependencyError; then the connection is no more."""
        try:
            answer = session.ask(request, seconds)
            if "failed" in answer:
                story = str(answer["failed"])
                raise DependencyError(f"hub: {story}", code=_code_of(story))
        except DependencyError:
            self._drop()
            self._next_try = self._monotonic() + self._backoff.failed()
            raise
        return answer

    def _opening(self) -> Mapping[str, Any]:
        access, proxy = self._access, self._access.proxy
        return {
            "do": "open",
            "connection": access.connection,
            "authority": access.authority,
            "websockets": access.websockets,
            "proxy": proxy and asdict(proxy),
        }

    def _drop(self) -> None:
        if self._session is not None:
            self._session.kill()
            self._session = None


def _code_of(story: str) -> str:
    """The SDK tells what went wrong by the names of its errors."""
    if "CERTIFICATE_VERIFY_FAILED" in story:
        return "hub.certificate"
    if "CredentialError" in story or "UnauthorizedError" in story:
        return "hub.denied"
    return "hub.unreachable"
