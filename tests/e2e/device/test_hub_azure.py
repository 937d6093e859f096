"""The hub port on azure-iot-device against a real broker: what it says on the wire, and what it does in trouble."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.messages import MAX_BODY_BYTES
from edge_module.backoff import Backoff
from edge_module.hub import Envelope
from edge_module.hub_azure import CONNECTION_SECONDS, AzureAccess, AzureHub, Proxy
from edge_module.hub_talker import TOKEN_SECONDS
from imagedelta.errors import ContentError, DependencyError, RequestError
from tests.e2e.device.connect_proxy import ConnectProxy
from tests.e2e.host_process import wait_for
from tests.e2e.parts.broker import Broker
from tests.e2e.parts.children import children
from tests.e2e.parts.hub_stand_in import HubStandIn
from tests.e2e.parts.workload import Workload
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e
REPORT = Envelope("transfer-1:1:1", "report", b'{"kind":"report"}')


def access(broker: Broker, **changes: Any) -> AzureAccess:
    connection = f"HostName={broker.address};DeviceId=ship-1;ModuleId=recon;SharedAccessKey=a2V5"
    return AzureAccess(
        **{"device_id": "ship-1", "connection": connection, "authority": broker.authority.pem, **changes}
    )


def hub_of(access: AzureAccess, silence_seconds: float = 20.0) -> AzureHub:
    return AzureHub(access, silence_seconds, backoff=Backoff(0.1, 0.5), between_seconds=0.0)


@pytest.fixture
def hub(broker: Broker) -> Iterator[AzureHub]:
    hub = hub_of(access(broker))
    yield hub
    hub.close()


def patiently(call: Any, *arguments: Any, seconds: float = 60.0) -> Any:
    """What the call answers once it does, as the module asks: again and again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call(*arguments)
        except DependencyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(DependencyError) as caught:
        call(*arguments)
    return caught.value.code


def talkers() -> list[psutil.Process]:
    return children(psutil.Process(), "edge_module.hub_talker", recursive=True)


# Messages


def test_a_message_says_on_the_wire_what_the_cloud_asks_of_it(hub: AzureHub, cloud: HubStandIn) -> None:
    hub.send(Envelope("inventory:a:1", "inventory", b"\x1f\x8b\x00\xff", content_encoding="gzip"))

    message = cloud.wait_for(lambda hub: hub.messages)[0]
    assert message.system == {
        "message-id": "inventory:a:1",
        "content-type": "application/json",
        "content-encoding": "gzip",
        "iothub-connection-device-id": "ship-1",
        "iothub-connection-module-id": "recon",
    }
    assert (message.properties, message.body) == ({"kind": "inventory"}, b"\x1f\x8b\x00\xff")


def test_messages_keep_their_order(hub: AzureHub, cloud: HubStandIn) -> None:
    for number in range(50):
        hub.send(Envelope(f"transfer-1:1:{number}", "report", b"{}"))

    cloud.wait_for(lambda hub: len(hub.messages) == 50)
    assert cloud.ids == [f"transfer-1:1:{number}" for number in range(50)]


def test_the_largest_message_is_taken_and_a_larger_one_refused_here(hub: AzureHub, cloud: HubStandIn) -> None:
    largest = MAX_BODY_BYTES
    hub.send(Envelope("a", "inventory", os.urandom(largest)))

    with pytest.raises(RequestError) as caught:
        hub.send(Envelope("b", "inventory", bytes(largest + 1)))

    assert caught.value.code == "hub.refused"
    assert len(cloud.wait_for(lambda hub: hub.messages)[0].body) == largest


@pytest.mark.parametrize("message_id", ["ä:1:1", "x" * 129, "a b", "\n", "\ud800"])
def test_an_id_that_no_hub_takes_is_the_same_hash_each_time(message_id: str, hub: AzureHub, cloud: HubStandIn) -> None:
    for _ in range(2):
        hub.send(Envelope(message_id, "report", b"{}"))

    cloud.wait_for(lambda hub: len(hub.messages) == 2)
    assert len(cloud.ids) == 1
    assert cloud.ids[0].startswith("sha256:")


# Trouble


def test_a_hub_that_is_down_is_told_at_once_and_found_again(broker: Broker, hub: AzureHub, cloud: HubStandIn) -> None:
    broker.kill()

    assert code_of(hub.send, REPORT) == "hub.unreachable"
    broker.start()
    patiently(hub.send, REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_connection_that_ends_is_made_anew(end: str, broker: Broker, hub: AzureHub, cloud: HubStandIn) -> None:
    hub.send(REPORT)
    woken = threading.Event()
    hub.listen(woken.set)
    patiently(hub.desired)

    getattr(broker, end)()
    assert woken.wait(20)
    broker.start()
    patiently(hub.send, Envelope("transfer-1:1:2", "report", b"{}"))

    cloud.wait_for(lambda hub: "transfer-1:1:2" in hub.ids)


def test_a_frozen_hub_is_given_up_and_what_it_had_taken_comes_twice(broker: Broker, cloud: HubStandIn) -> None:
    hub = hub_of(access(broker), silence_seconds=5.0)
    hub.send(Envelope("first", "report", b"{}"))
    broker.freeze()

    started = time.monotonic()
    assert code_of(hub.send, REPORT) == "hub.no_answer"
    took = time.monotonic() - started
    broker.thaw()
    patiently(hub.send, REPORT)

    assert took < 20  # not the minutes that the hub was gone
    cloud.wait_for(lambda hub: hub.ids == ["first", REPORT.message_id])
    assert [message.system["message-id"] for message in cloud.messages].count(REPORT.message_id) in (1, 2)
    hub.close()


def test_a_hub_that_stays_away_is_not_asked_at_every_turn(broker: Broker) -> None:
    broker.kill()
    hub = AzureHub(access(broker), 20.0, backoff=Backoff(60.0, 60.0))

    code_of(hub.send, REPORT)
    started = time.monotonic()
    for _ in range(100):
        assert code_of(hub.send, REPORT) == "hub.unreachable"

    assert time.monotonic() - started < 0.5
    wait_for(lambda: not talkers())  # a killed process takes a moment to be gone


def test_a_certificate_of_another_authority_is_not_believed(broker: Broker) -> None:
    hub = hub_of(access(broker, authority=""))

    assert code_of(hub.send, REPORT) == "hub.certificate"


def test_a_clock_far_behind_ends_nothing_and_heals_by_itself(broker: Broker, cloud: HubStandIn) -> None:
    """A certificate that is not valid yet is what a clock at 1970 sees."""
    broker.certify(datetime.now(UTC) + timedelta(days=300))
    broker.stop()
    broker.start()
    hub = hub_of(access(broker))

    assert code_of(hub.send, REPORT) == "hub.certificate"
    broker.certify()
    broker.stop()
    broker.start()
    patiently(hub.send, REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
    hub.close()


def test_a_connection_is_replaced_before_its_token_ends(broker: Broker, cloud: HubStandIn) -> None:
    now = 0.0
    hub = AzureHub(access(broker), 20.0, monotonic=lambda: now)
    hub.send(REPORT)
    first = talkers()
    now += CONNECTION_SECONDS - 1
    hub.send(REPORT)
    assert talkers() == first

    now += 1
    hub.send(REPORT)

    wait_for(lambda: len(talkers()) == 1 and talkers() != first)
    assert CONNECTION_SECONDS < TOKEN_SECONDS
    hub.close()


def test_whoever_is_thrown_out_by_a_twin_of_himself_does_not_return_at_once(broker: Broker, cloud: HubStandIn) -> None:
    now = 0.0
    hub = AzureHub(access(broker), 20.0, monotonic=lambda: now)
    ended = threading.Event()
    hub.listen(ended.set)
    hub.send(REPORT)

    other = hub_of(access(broker))
    other.send(REPORT)
    assert ended.wait(20)

    with pytest.raises(DependencyError, match="next try in 5 s"):
        hub.send(REPORT)
    now += 5
    hub.send(REPORT)
    hub.close()
    other.close()


# The twin


def test_desired_properties_are_asked_for_once_and_then_kept_up_by_what_the_hub_tells(
    hub: AzureHub, cloud: HubStandIn
) -> None:
    cloud.desire({"paused": True, "revokedBundles": ["a"], "unknown": {"x": 1}})
    assert hub.desired().paused
    woken = threading.Event()
    hub.listen(woken.set)

    cloud.desire({"paused": None, "pollEverySeconds": 7})
    assert woken.wait(20)

    desired = hub.desired()
    assert (desired.paused, desired.poll_every_seconds, desired.revoked_bundles) == (False, 7, ["a"])
    assert cloud.asked == 1


def test_a_word_that_got_lost_on_the_way_is_made_up_for(hub: AzureHub, cloud: HubStandIn) -> None:
    hub.desired()
    woken = threading.Event()
    hub.listen(woken.set)

    cloud.desire({"revokedBundles": ["a"]}, told=False)
    cloud.desire({"resync": 3})
    assert woken.wait(20)

    desired = hub.desired()
    assert (desired.resync, desired.revoked_bundles) == (3, ["a"])


def test_a_twin_that_breaks_the_contract_is_told_and_costs_no_connection(hub: AzureHub, cloud: HubStandIn) -> None:
    cloud.desire({"pollEverySeconds": 0})
    with pytest.raises(ContentError, match="pollEverySeconds"):
        hub.desired()

    cloud.desire({"pollEverySeconds": 60})
    wait_for(lambda: _is_well(hub))

    assert cloud.asked == 1


def _is_well(hub: AzureHub) -> bool:
    with suppress(ContentError):
        return hub.desired().poll_every_seconds == 60
    return False


def test_reported_properties_are_merged_and_none_removes(hub: AzureHub, cloud: HubStandIn) -> None:
    hub.report_properties({"engine": "layout", "download": {"bytes": 1, "ofBytes": 2}})
    hub.report_properties({"engine": "layout", "download": None, "refusals": [{"bundle": "\ud800\x1b" + "x" * 5000}]})

    reported = cloud.wait_for(lambda hub: hub.reported if "refusals" in hub.reported else None)
    assert reported["engine"] == "layout"
    assert "download" not in reported
    assert reported["refusals"][0]["bundle"].startswith("\\ud800\\x1bxxx")
    assert len(reported["refusals"][0]["bundle"]) == 4096


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [(400, RequestError, "hub.refused"), (429, DependencyError, "hub.busy"), (500, DependencyError, "hub.busy")],
)
def test_a_hub_that_refuses_properties_keeps_its_connection(
    status: int, error: type[Exception], code: str, hub: AzureHub, cloud: HubStandIn
) -> None:
    hub.send(REPORT)
    before = talkers()
    cloud.status = status

    with pytest.raises(error) as caught:
        hub.report_properties({"paused": True})
    hub.send(REPORT)

    assert getattr(caught.value, "code", "") == code
    assert talkers() == before


def test_a_twin_that_never_comes_is_given_up(broker: Broker, cloud: HubStandIn) -> None:
    hub = hub_of(access(broker), silence_seconds=4.0)
    cloud.status = 0

    assert code_of(hub.desired) == "hub.no_answer"
    cloud.status = None

    assert patiently(hub.desired).paused is False
    hub.close()


# Ends


def test_closing_ends_a_call_that_waits(broker: Broker, cloud: HubStandIn) -> None:
    hub = hub_of(access(broker), silence_seconds=60.0)
    hub.send(REPORT)
    broker.freeze()
    codes: list[str] = []
    waiting = threading.Thread(target=lambda: codes.append(code_of(hub.send, REPORT)))
    waiting.start()
    wait_for(hub._asking.locked)

    started = time.monotonic()
    hub.close()
    waiting.join(10)

    assert time.monotonic() - started < 5
    assert codes == ["hub.unreachable"]
    wait_for(lambda: not talkers())


def test_connections_leave_nothing_behind(broker: Broker, cloud: HubStandIn) -> None:
    hub = hub_of(access(broker))
    this = psutil.Process()

    def used() -> tuple[int, int]:
        return this.num_fds(), threading.active_count()

    def connect_once() -> None:
        patiently(hub.send, REPORT)
        (talker,) = talkers()
        talker.kill()
        wait_for(lambda: not talkers())

    connect_once()
    time.sleep(0.5)
    before = used()
    for _ in range(5):
        connect_once()

    wait_for(lambda: all(now <= then for now, then in zip(used(), before, strict=True)))
    hub.close()


_ASK_FOR_EVER = """
import sys, time
from edge_module.hub import Envelope
from edge_module.hub_azure import CONNECTION_SECONDS, AzureAccess, AzureHub, Proxy
from edge_module.hub_talker import TOKEN_SECONDS
hub = AzureHub(AzureAccess("ship-1", sys.argv[1], open(sys.argv[2]).read()), 60.0)
hub.send(Envelope("1", "report", b"{}"))
print(hub._session._process.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_module_leaves_no_talker_behind(broker: Broker, cloud: HubStandIn, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(broker.authority.pem)
    connection = access(broker).connection
    command = [sys.executable, "-c", _ASK_FOR_EVER, str(connection), str(tmp_path / "ca.pem")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        talker = psutil.Process(int(process.stdout.readline()))

        process.send_signal(signal.SIGKILL)

    talker.wait(10)


# Ways to the hub


@pytest.fixture
def workload(broker: Broker, tmp_path: Path) -> Iterator[Workload]:
    workload = Workload(tmp_path / "workload.sock", broker.authority.pem)
    yield workload
    workload.close()


def test_iot_edges_environment_is_enough(
    broker: Broker, cloud: HubStandIn, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in workload.environment(broker.address, "ship-1", "recon").items():
        monkeypatch.setenv(name, value)
    hub = hub_of(AzureAccess("ship-1", None))

    hub.send(REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
    path, text = workload.signed[0]
    assert path == "/modules/recon/genid/638010619771297413/sign"
    resource, expiry = text.split("\n")
    assert resource == "north.azure-devices.net%2Fdevices%2Fship-1%2Fmodules%2Frecon"
    assert 23 * 3600 < int(expiry) - time.time() < 25 * 3600
    hub.close()


def test_a_workload_api_that_hangs_is_given_up(
    broker: Broker, cloud: HubStandIn, workload: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in workload.environment(broker.address, "ship-1", "recon").items():
        monkeypatch.setenv(name, value)
    workload.silent = True
    hub = hub_of(AzureAccess("ship-1", None), silence_seconds=3.0)

    assert code_of(hub.send, REPORT) == "hub.no_answer"
    workload.silent = False
    patiently(hub.send, REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
    hub.close()


def test_a_module_without_a_workload_api_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IOTEDGE_WORKLOADURI", f"unix://{tmp_path}/none.sock")
    hub = hub_of(AzureAccess("ship-1", None))

    assert code_of(hub.send, REPORT) == "hub.unreachable"


def test_a_gateway_is_reached_in_place_of_the_hub(broker: Broker, cloud: HubStandIn) -> None:
    names = f"HostName=north.azure-devices.net;GatewayHostName={broker.address}"
    hub = hub_of(access(broker, connection=f"{names};DeviceId=ship-1;ModuleId=recon;SharedAccessKey=a2V5"))

    hub.send(REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
    hub.close()


def test_a_proxy_stands_between(broker: Broker, cloud: HubStandIn) -> None:
    with ConnectProxy() as proxy:
        hub = hub_of(access(broker, proxy=Proxy("HTTP", "127.0.0.1", proxy.port)))

        hub.send(REPORT)

        cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
        assert proxy.asked == [f"{broker.address}:8883"]
        hub.close()


def test_a_link_that_breaks_at_any_byte_only_delays(broker: Broker, cloud: HubStandIn) -> None:
    """From the proxy's answer into the acknowledgement; signatures of a handshake differ by a byte or two."""
    with ConnectProxy() as proxy, TcpProxy(("127.0.0.1", proxy.port)) as link:
        way = access(broker, proxy=Proxy("HTTP", "127.0.0.1", link.port))
        whole = hub_of(way)
        whole.send(Envelope("whole", "report", b"{}"))
        answers = link.carried_down
        whole.close()

        positions = [0, 1, 18, 19, 20, *range(50, answers - 8, answers // 8), answers - 8]
        for cut in positions:
            hub = hub_of(way, silence_seconds=10.0)
            link.cut_after = cut
            code_of(hub.send, Envelope(f"cut-{cut}", "report", b"{}"))
            link.cut_after = None
            patiently(hub.send, Envelope(f"after-{cut}", "report", b"{}"))
            hub.close()

    assert link.cuts >= len(positions)
    cloud.wait_for(lambda hub: {f"after-{cut}" for cut in positions} <= set(hub.ids))


def test_a_link_that_carries_nothing_any_more_is_given_up(broker: Broker, cloud: HubStandIn) -> None:
    with ConnectProxy() as proxy, TcpProxy(("127.0.0.1", proxy.port)) as link:
        hub = hub_of(access(broker, proxy=Proxy("HTTP", "127.0.0.1", link.port)), silence_seconds=4.0)
        hub.send(REPORT)
        link.hanging = True

        assert code_of(hub.send, REPORT) == "hub.no_answer"
        assert code_of(patiently_connecting, hub) == "hub.no_answer"

        link.hanging = False
        link.cut()
        patiently(hub.send, Envelope("last", "report", b"{}"))
        cloud.wait_for(lambda hub: "last" in hub.ids)
        hub.close()


def patiently_connecting(hub: AzureHub) -> None:
    """Ask until it is not too early for another connection."""
    while True:
        try:
            return hub.send(REPORT)
        except DependencyError as error:
            if "next try" not in str(error):
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("page", [b"<html>Welcome aboard</html>", b"\x16\x03\x03" + bytes(4_000_000), b""])
def test_what_is_no_hub_is_a_reason_to_wait(page: bytes, broker: Broker, cloud: HubStandIn) -> None:
    with ConnectProxy() as proxy, TcpProxy(("127.0.0.1", proxy.port)) as link:
        hub = hub_of(access(broker, proxy=Proxy("HTTP", "127.0.0.1", link.port)), silence_seconds=10.0)
        link.answer = b"HTTP/1.1 200 OK\r\n\r\n" + page

        assert code_of(hub.send, REPORT) == "hub.unreachable"

        link.answer = None
        patiently(hub.send, REPORT)
        hub.close()


def test_a_proxy_that_is_not_there_is_a_reason_to_wait(broker: Broker) -> None:
    hub = hub_of(access(broker, proxy=Proxy("SOCKS5", "127.0.0.1", 9)))

    assert code_of(hub.send, REPORT) == "hub.unreachable"


def test_websockets_go_through_port_443(tmp_path: Path) -> None:
    broker = Broker(tmp_path, websockets=True).start()
    cloud = HubStandIn(broker).wait_until_ready()
    hub = hub_of(access(broker, websockets=True))

    hub.send(REPORT)

    cloud.wait_for(lambda hub: hub.ids == [REPORT.message_id])
    hub.close()
    cloud.close()
    broker.kill()
