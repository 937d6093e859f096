"""What is asked of an IoT hub in Azure, by Azure's own library (azure-iot-hub).

The library makes the requests, we send them: its own HTTP client bounds neither time nor bytes, and tries again by
itself for as long as the hub says, but not what was sent by POST (services.hubs.transport). It is imported when the
first hub is made, since it needs uamqp, which has wheels for x86-64 alone.
Not here: update_configuration, which sends its etag without quotes. An id of ours means one content for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any, TypeVar

from azure.iot.hub import IoTHubConfigurationManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    Configuration,
    ConfigurationContent,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.pipeline import HTTPSender, Pipeline, Request, Response
from msrest.pipeline.requests import RequestsCredentialsPolicy
from msrest.pipeline.universal import RawDeserializer

from imagedelta.errors import DependencyError
from services.clock import utc_now
from services.hubs.calls import MAX_DEPLOYMENTS, Document, Rows, refusal, unanswered
from services.hubs.connection import HubConnection
from services.hubs.transport import Answer, HubTransport
from services.identity import Identity
from services.ports import Clock

T = TypeVar("T")
_DONE = True
"""With what the library returns nothing for."""


class SdkCalls:
    """``HubCalls``."""

    def __init__(
        self,
        name: str,
        connection: HubConnection,
        identity: Identity,
        *,
        transport: HubTransport | None = None,
        now: Clock = utc_now,
    ) -> None:
        """As of services.hubs.rest."""
        self.name = name
        self._now = now
        self._made_of = connection, identity, transport or HubTransport(name, connection.url)

    @cached_property
    def _registry(self) -> Any:
        """Made when it is first asked: the library wants a token of Entra ID for it already then."""
        return _manager(IoTHubRegistryManager, *self._made_of)

    @cached_property
    def _configurations(self) -> Any:
        return _manager(IoTHubConfigurationManager, *self._made_of)

    def module_twin(self, device_id: str, module_id: str) -> Document | None:
        twin = self._ask(lambda: self._registry.get_module_twin(device_id, module_id), absent=404)
        return None if twin is None else _twin_document(twin)

    def patch_desired(self, device_id: str, module_id: str, patch: Document) -> Document | None:
        change = Twin(properties=TwinProperties(desired=dict(patch)))
        twin = self._ask(lambda: self._registry.update_module_twin(device_id, module_id, change), absent=404)
        return None if twin is None else _twin_document(twin)

    def device_twin(self, device_id: str) -> Document | None:
        twin = self._ask(lambda: self._registry.get_twin(device_id), absent=404)
        return None if twin is None else _twin_document(twin)

    def patch_tags(self, device_id: str, patch: Document, etag: str) -> bool | None:
        change = Twin(tags=dict(patch))
        try:
            twin = self._ask(lambda: self._registry.update_twin(device_id, change, etag), absent=404, judged=(412,))
        except _Refused:
            return False
        return None if twin is None else True

    def query(self, text: str, page: int, after: str | None) -> Rows:
        found = self._ask(lambda: self._registry.query_iot_hub(QuerySpecification(query=text), after, page))
        if found is None or not isinstance(found.items, list):
            raise unanswered(self.name, "a query was not answered by a list")
        return Rows([_twin_document(row) for row in found.items if isinstance(row, Twin)], found.continuation_token)

    def apply(self, device_id: str, modules_content: Document) -> bool:
        content = ConfigurationContent(modules_content=dict(modules_content))
        applied = self._ask(
            lambda: (self._configurations.apply_configuration_on_edge_device(device_id, content), _DONE), absent=404
        )
        return applied is not None

    def configurations(self) -> Sequence[Any]:
        found = self._ask(lambda: self._configurations.get_configurations(MAX_DEPLOYMENTS))
        if not isinstance(found, list):
            raise unanswered(self.name, "the deployments are not a list")
        return [_configuration_document(one) for one in found if isinstance(one, Configuration)]

    def configuration(self, configuration_id: str) -> Document:
        found = self._ask(lambda: self._configurations.get_configuration(configuration_id))
        if not isinstance(found, Configuration):
            raise unanswered(self.name, "an answer that is no deployment")
        return _configuration_document(found)

    def create_configuration(self, document: Document) -> bool:
        new = Configuration(
            id=document["id"],
            content=ConfigurationContent(modules_content=document["content"]["modulesContent"]),
            target_condition=document["targetCondition"],
            priority=document["priority"],
        )
        return self._ask(lambda: self._configurations.create_configuration(new), absent=409) is not None

    def delete_configuration(self, configuration_id: str) -> None:
        self._ask(lambda: (self._configurations.delete_configuration(configuration_id), _DONE), absent=404)

    def _ask(self, do: Callable[[], T], absent: int | None = None, judged: Collection[int] = ()) -> T | None:
        """What the library returns; None for an answer of the status ``absent``, _Refused for one that is ``judged``.

        Whatever else it raises (for bodies that are not what it expects, in ways of its own) is no answer.
        """
        try:
            found = do()
        except DependencyError:
            raise
        except _Refused as error:
            answer = error.answer
            if answer.status == absent:
                return None
            if answer.status in judged:
                raise
            text, rest = answer.body[:300].decode(errors="replace"), answer.headers.get("retry-after", "")
            raise refusal(self.name, answer.status, text, rest, self._now()) from error
        except Exception as error:
            raise unanswered(self.name, f"{type(error).__name__} {error}"[:300]) from error
        if found is None:
            raise unanswered(self.name, "an answer without a body")
        return found


def _manager(kind: Any, connection: HubConnection, identity: Identity, transport: HubTransport) -> Any:
    """A manager of the library whose requests go through ``transport``."""
    if connection.key is None:
        manager = kind.from_token_credential(connection.host, _Credential(identity))
    else:
        manager = kind.from_connection_string(connection.text)
    config = manager.protocol.config
    config.keep_alive = True  # else the library looks for the sessions of its own client, to close them
    signing: Any = RequestsCredentialsPolicy
    policies = [config.user_agent_policy, signing(config.credentials), RawDeserializer()]
    config.pipeline = Pipeline(policies, _Sender(transport))
    return manager


class _Credential:
    """The identity of the app, as the library asks for it: a failure says what to do."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def get_token(self, *scopes: str, **options: Any) -> Any:
        self._identity.token(scopes[0])
        return self._identity.credential.get_token(*scopes, **options)


class _Sender(HTTPSender[Any, Any]):
    """Sends what the library made; its credentials write into the headers of the context."""

    def __init__(self, transport: HubTransport) -> None:
        self._transport = transport

    def __exit__(self, *_: object) -> None:
        """Connections are kept."""

    def build_context(self) -> Any:
        return SimpleNamespace(session=SimpleNamespace(headers={}))

    def send(self, request: Request[Any], **_: Any) -> Response[Any, Any]:
        made, context = request.http_request, request.context
        headers = {**made.headers, **(context.session.headers if context else {})}
        headers.pop("Content-Length", None)  # of characters, not of bytes
        body = made.data.encode() if isinstance(made.data, str) else made.data
        answer = self._transport.send(made.method, made.url, headers, body)
        if not 200 <= answer.status < 300:
            raise _Refused(answer)  # before the library reads it: what a proxy says is no JSON
        return Response(request, _Answered(answer))


class _Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class _Answered:
    """A good answer in the forms that the library reads."""

    def __init__(self, answer: Answer) -> None:
        self.status_code = answer.status
        self.headers = answer.headers
        self.reason = ""
        self.context: Mapping[str, Any] = {}
        self._body = answer.body

    @property
    def internal_response(self) -> _Answered:
        return self

    def text(self) -> str:
        return self._body.decode("utf-8-sig")

    def raise_for_status(self) -> None:
        raise ValueError(f"status {self.status_code}")


def _twin_document(twin: Any) -> Document:
    properties = twin.properties
    return {
        "deviceId": twin.device_id,
        "moduleId": twin.module_id,
        "etag": twin.etag or "",
        "tags": twin.tags,
        "configurations": (twin.additional_properties or {}).get("configurations"),
        "properties": properties and {"desired": properties.desired, "reported": properties.reported or {}},
    }


def _configuration_document(found: Any) -> Document:
    content = found.content
    modules = content and content.modules_content
    return {
        "id": found.id,
        "targetCondition": found.target_condition,
        "priority": found.priority,
        "content": content and ({"modulesContent": modules} if modules is not None else {}),
    }
