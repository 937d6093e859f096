"""The hub port over TLS to a stand-in of IoT Hub with its limits, by Azure's unmodified library and by ourselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from imagedelta.errors import DependencyError
from services.http_bounded import bounded_client
from services.hubs.budget import BudgetedCalls, Budgets
from services.hubs.connection import HubConnection
from services.hubs.hub import IotHub
from services.hubs.rest import RestCalls
from services.hubs.sdk import SdkCalls
from services.hubs.transport import HubTransport
from services.identity import Identity
from services.ports import Hub
from tests.e2e.device.connect_proxy import ConnectProxy
from tests.e2e.parts.certificates import Authority
from tests.hubs.cloud import HubCloud
from tests.hubs.suite import HubSuite, content
from tests.simulators.managed_identity import managed_identity
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e

CALLS = {"sdk": SdkCalls, "rest": RestCalls}


class CloudPlace(HubCloud):
    """The stand-in, and an adapter that talks to it."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path], kind: str, **options: float) -> None:
        super().__init__(folder, certificate, **options)  # type: ignore[arg-type]
        self.kind = kind
        self._clients: list[httpx.Client] = []
        self.hub: Hub = self.adapter(self.connection)

    def adapter(self, connection: str, identity: Identity | None = None) -> IotHub:
        known = HubConnection.parse(connection)
        client = bounded_client(1.0)
        self._clients.append(client)
        transport = HubTransport("north", known.url, client)
        return IotHub(CALLS[self.kind]("north", known, identity or Identity({}), transport=transport))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        super().close()


@pytest.fixture(scope="module")
def certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return authority.issue(tmp_path_factory.mktemp("hub"), "127.0.0.1")


@pytest.fixture(autouse=True)
def trust(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.write(tmp_path)))


@pytest.fixture(params=sorted(CALLS))
def place(request: pytest.FixtureRequest, tmp_path: Path, certificate: tuple[Path, Path]) -> Iterator[CloudPlace]:
    place = CloudPlace(tmp_path, certificate, request.param)
    yield place
    place.close()


class TestOverTls(HubSuite):
    """The contract; ``place`` is of both kinds."""


def test_one_connection_serves_all_requests_and_no_thread_is_left(place: CloudPlace) -> None:
    place.add_device("ship-1", content("app", "other"))
    before = threading.active_count()

    for _ in range(5):
        place.hub.modules_content("ship-1")

    assert place.connections == 1
    assert threading.active_count() == before


def test_the_apps_identity_signs_in_where_no_key_is_given(place: CloudPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add_device("ship-1", content("app"))
    with managed_identity() as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        endpoint.tokens["https://iothubs.azure.net"] = place.bearer = "the-token"
        hub = place.adapter(place.host, Identity())

        assert hub.module_twin("ship-1", "$edgeAgent") is not None
        assert hub.module_twin("ship-1", "$edgeHub") is not None
        assert [asked["resource"] for asked in endpoint.asked] == ["https://iothubs.azure.net"]


def test_without_an_identity_it_is_said_what_to_do(place: CloudPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    with managed_identity() as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        endpoint.failures = [(400, "{}")] * 9
        hub = place.adapter(place.host, Identity())

        with pytest.raises(DependencyError) as caught:
            hub.module_twin("ship-1", "$edgeAgent")

    assert caught.value.code == "dependency.identity"


def test_a_wrong_key_is_a_hub_that_does_not_answer_and_is_never_shown(place: CloudPlace) -> None:
    wrong = "d3Jvbmdrd3JvbmdrZXk="
    hub = place.adapter(place.connection.replace(place.key, wrong))

    with pytest.raises(DependencyError, match="401") as caught:
        hub.module_twin("ship-1", "$edgeAgent")

    assert wrong not in str(caught.value)


def test_over_its_limit_the_hub_is_left_alone_for_as_long_as_it_says(place: CloudPlace) -> None:
    """Also what the library would try again by itself (reads), and what it would not (POST)."""
    place.add_device("ship-1", content("app"))
    for _ in range(20):
        place.hub.agents(["ship-1"])
        place.hub.deployments()
    asked = len(place.asked)

    refused = []
    for ask in (lambda: place.hub.agents(["ship-1"]), place.hub.deployments):
        with pytest.raises(DependencyError) as caught:
            ask()
        refused.append(caught.value.retry_after)

    assert all(rest is not None and timedelta(seconds=50) < rest <= timedelta(seconds=60) for rest in refused)
    assert [one.status for one in place.asked[asked:]] == [429, 429]  # asked once each


def test_a_query_may_be_older_than_what_was_written_and_the_twin_never_is(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    clock = [0.0]
    place = CloudPlace(tmp_path, certificate, "sdk", lag_seconds=30, monotonic=lambda: clock[0])  # type: ignore[arg-type]
    try:
        place.add_device("ship-1", content("app"))
        first = place.hub.agents(["ship-1"])["ship-1"].version
        place.hub.apply_content("ship-1", content("app", "new"), on=first)

        told = place.hub.agents(["ship-1"])["ship-1"].version
        twin = place.hub.module_twin("ship-1", "$edgeAgent")
        clock[0] = 31
        later = place.hub.agents(["ship-1"])["ship-1"].version
    finally:
        place.close()

    assert twin is not None
    assert (told, twin.version, later) == (first, first + 1, first + 1)


def test_a_proxy_of_the_environment_is_asked(place: CloudPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

        assert place.hub.module_twin("nobody", "$edgeAgent") is None
        assert proxy.asked == [place.host]


def test_a_hub_with_a_certificate_of_somebody_else_is_not_talked_to(
    place: CloudPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority().write(tmp_path / "other")))
    hub = place.adapter(place.connection)

    with pytest.raises(DependencyError, match=r"(?i)certificate"):
        hub.module_twin("ship-1", "$edgeAgent")
    assert place.asked == []


def test_a_hub_that_is_silent_cut_or_gone_lets_go_of_who_asks(place: CloudPlace) -> None:
    place.add_device("ship-1", content("app"))
    with TcpProxy(("127.0.0.1", place.port)) as link:
        host = f"127.0.0.1:{link.port}"
        place.hosts.add(host)
        hub = place.adapter(place.connection.replace(place.host, host))
        assert hub.module_twin("ship-1", "$edgeAgent") is not None

        for trouble in ("hanging", "refusing", "cut_after"):
            setattr(link, trouble, 10 if trouble == "cut_after" else True)
            if trouble != "hanging":
                link.cut()
            began = time.monotonic()
            with pytest.raises(DependencyError):
                hub.module_twin("ship-1", "$edgeAgent")
            assert time.monotonic() - began < 4
            link.hanging, link.refusing, link.cut_after = False, False, None

        link.cut()
        assert hub.module_twin("ship-1", "$edgeAgent") is not None
    with pytest.raises(DependencyError):
        hub.module_twin("ship-1", "$edgeAgent")


def test_within_its_budget_the_hub_never_has_to_refuse(place: CloudPlace) -> None:
    place.add_device("ship-1", content("app"))
    known = HubConnection.parse(place.connection)
    client = bounded_client(1.0)
    calls = CALLS[place.kind]("north", known, Identity({}), transport=HubTransport("north", known.url, client))
    budgets = Budgets(1)
    hub = IotHub(BudgetedCalls(calls, budgets), room=budgets.writes.left)

    with pytest.raises(DependencyError) as caught:
        for _ in range(30):
            hub.agents(["ship-1"])
            hub.deployments()
    client.close()

    assert (caught.value.code, hub.room) == ("hub.budget", 0)
    assert place.limits.count == {"query": 18, "configuration": 18}
    assert place.limits.refused == {}
