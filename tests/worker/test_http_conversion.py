"""Conversion of requests and responses: what a function sees and what a caller gets, in both hosts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.host_process import APPS, HostProcess
from tests.worker.azure_worker import AzureWorker
from tests.worker.conftest import Both
from tests.worker.functions_host import Call

pytestmark = pytest.mark.e2e

ANSWERS = {
    function: Call(function, "GET", f"/api/{route}")
    for function, route in [
        *((name, name) for name in ("text", "nothing", "html", "own_type", "redirect", "latin", "asynchronous")),
        *((name, name) for name in ("raises", "a_dict", "raw_bytes", "a_number")),
        ("binary", "bytes"),
    ]
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    host = HostProcess(tmp_path_factory.mktemp("http") / "state", APPS / "conversion").start()
    worker = AzureWorker(APPS / "conversion")
    yield Both(host, worker, "", {})
    worker.stop()
    host.stop()


@pytest.mark.parametrize("call", ANSWERS.values(), ids=ANSWERS)
def test_what_a_function_returns_reaches_the_caller_alike(both: Both, call: Call) -> None:
    by_worker, served = both.answers(call)

    assert by_worker == served
