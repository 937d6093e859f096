"""Platform authentication under Azure's worker: the app asks for a role, and headers of tokens arrive as the host sends
them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.callers import header, person
from tests.worker.azure_worker import ROOT, AzureWorker
from tests.worker.conftest import Both
from tests.worker.functions_host import Call, HttpAnswer, call_worker

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def behind_the_platform(both: Both) -> Iterator[AzureWorker]:
    worker = AzureWorker(ROOT, **both.settings, WEBSITE_AUTH_ENABLED="True", WEBSITE_INSTANCE_ID="an instance")
    yield worker
    worker.stop()


def ask(worker: AzureWorker, both: Both, call: Call) -> HttpAnswer:
    request = httpx.Request(call.method, both.host.url + call.path, headers=call.headers, content=call.body)
    return call_worker(worker, call, request, both.client)


def devices(principal: str = "") -> Call:
    return Call("api_devices", "GET", "/api/devices", headers={"X-MS-CLIENT-PRINCIPAL": principal} if principal else {})


def test_a_token_with_a_role_opens_and_without_it_nothing_does(behind_the_platform: AzureWorker, both: Both) -> None:
    answers = [
        ask(behind_the_platform, both, devices(principal))
        for principal in ("", "forged", header(person()), header(person("read")))
    ]

    assert [answer.status for answer in answers] == [401, 401, 403, 200]
    assert b"caller.unknown" in answers[0].body


def test_a_forged_header_opens_nothing_on_the_host_that_asks_for_keys(both: Both) -> None:
    forged = {"X-MS-CLIENT-PRINCIPAL": header(person("read", "deploy", "release", "enrol"))}

    answer = httpx.get(f"{both.host.url}/api/devices", headers=forged)

    assert answer.status_code == 401
