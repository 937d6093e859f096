"""Conversion of requests and responses: what a function sees and what a caller gets, in both hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.host_process import APPS, HostProcess
from tests.worker.azure_worker import AzureWorker
from tests.worker.conftest import Both
from tests.worker.functions_host import Call

pytestmark = pytest.mark.e2e
JSON = {"content-type": "application/json"}

ANSWERS = {
    function: Call(function, "GET", f"/api/{route}")
    for function, route in [
        *((name, name) for name in ("text", "nothing", "html", "own_type", "redirect", "latin", "asynchronous")),
        *((name, name) for name in ("raises", "a_dict", "raw_bytes", "a_number", "none", "out")),
        ("binary", "bytes"),
    ]
}


FORM = {"content-type": "application/x-www-form-urlencoded"}
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}


def seen(method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes = b"") -> Call:
    return Call("seen", method, f"/api/seen/{path}", params, headers, body)


REQUESTS = {
    "a query": seen("GET", "a/b/c?x=1&x=2&y=&z=%C3%BC&Z=3", {"place": "a", "rest": "b/c"}, {}),
    "a part of the route that is left out": seen("GET", "a", {"place": "a"}, {}),
    "an encoded route": seen("GET", "a%20b/c/%C3%BC", {"place": "a b", "rest": "c/ü"}, {}),
    "JSON": seen("POST", "a/b", {"place": "a", "rest": "b"}, JSON, b'{"a": [1]}'),
    "broken JSON": seen("POST", "a/b", {"place": "a", "rest": "b"}, JSON, b'{"a": '),
    "a body that is no text": seen("PUT", "a/b", {"place": "a", "rest": "b"}, JSON, b"\x00\xff"),
    "a form": seen("POST", "a/b", {"place": "a", "rest": "b"}, FORM, b"a=1&a=2&b=%C3%BC"),
    "odd headers": seen("DELETE", "a/b", {"place": "a", "rest": "b"}, {"X-Empty": "", "X-UP": "Value, Other"}),
    "a trace": seen("GET", "a/b", {"place": "a", "rest": "b"}, TRACE),
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


@pytest.mark.parametrize("call", REQUESTS.values(), ids=REQUESTS)
def test_a_function_sees_the_same_request(both: Both, call: Call) -> None:
    by_worker, served = both.answers(call)

    assert json.loads(by_worker.body) == json.loads(served.body)
