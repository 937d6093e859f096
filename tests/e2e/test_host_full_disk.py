"""A running host that can write no file for a while: nothing dies of it, and all goes on when there is room again.

The limit is the kernel's on file sizes (``RLIMIT_FSIZE``), set on the running process: each write to a file fails.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.host_process import APPS, HostProcess, HubClient, hub_key, lines, wait_for

pytestmark = pytest.mark.e2e


@contextlib.contextmanager
def full_disk(host: HostProcess):  # type: ignore[no-untyped-def]
    """Let the host write nothing; a worker started meanwhile would keep the limit, so none is needed."""
    assert host.process is not None
    before = resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(host.process.pid, resource.RLIMIT_FSIZE, before)


def status(host: HostProcess) -> dict[str, Any]:
    found: dict[str, Any] = host.admin("GET", "/admin/host/status").json()
    return found


def test_timers_events_and_orchestrations_go_on_after_a_full_disk(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    settings = {"LOG": str(log), "LOCAL_IOTHUBS": "north", "TICK": "* * * * * *"}
    settings["NORTH_EVENTS"] = "UseLocalIotHub=true;EntityPath=north"
    host = HostProcess(tmp_path / "state", APPS / "everything", **settings).start()
    try:
        hub = HubClient(host, "north", hub_key(host.state, "north"))
        key = hub.enrol("ship", "recon")
        assert hub.send("ship", "recon", key, b"before").status_code == 204
        wait_for(lambda: lines(log, "event") and lines(log, "tick"))
        host.begin("waits", 600, "waiting")
        host.begin("fan_out_async", 30, "under-way")

        with full_disk(host):
            wait_for(lambda: status(host)["errors"], 60)
            wait_for(lambda: any(loop["restarts"] for loop in status(host)["loops"]), 60)
            during = status(host)
            sent = hub.send("ship", "recon", key, b"lost").status_code
            started = host.request("POST", "/v1/start/chain/refused", json=1).status_code

        assert (during["state"], sent >= 500, started >= 400) == ("Error", True, True)
        ticks = len(lines(log, "tick"))
        assert hub.send("ship", "recon", key, b"after").status_code == 204
        wait_for(lambda: [event["body"] for event in lines(log, "event")] == ["before", "after"], 90)
        wait_for(lambda: len(lines(log, "tick")) > ticks, 90)
        assert host.call("raise_event", "waiting", name="go", data="on").status_code == 200
        assert host.result("waiting", 60) == ("Completed", {"got": '"on"'})
        assert host.result("under-way", 60) == ("Completed", sum(n * 2 for n in range(30)))
        assert host.run("chain", 1) == ("Completed", 4)
        wait_for(lambda: status(host)["state"] == "Running", 90)
    finally:
        host.stop()


def test_a_host_on_damaged_state_says_so_and_ends(tmp_path: Path) -> None:
    host = HostProcess(tmp_path / "state", APPS / "http").start()
    host.kill()
    (tmp_path / "state" / "durable.sqlite-wal").unlink()

    assert host.launch().wait(60) != 0

    told = host.log.read_text()
    assert "durable.sqlite cannot be used" in told
    assert "host.state_damaged" in told
    assert "Traceback" not in told
    with pytest.raises(httpx.TransportError):
        httpx.get(host.url)
