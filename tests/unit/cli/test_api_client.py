"""How commands find a host and what they make of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta.errors import DependencyError, RequestError
from imagedelta_cli.api_client import Api, Endpoint, Problem, find_endpoint, segment

Handler = Any


def api_of(handler: Handler) -> Api:
    client = httpx.Client(transport=httpx.MockTransport(handler))
    return Api(Endpoint("http://host", "secret"), client=client, pause=0)


@pytest.fixture(autouse=True)
def _no_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IMAGEDELTA_URL", raising=False)
    monkeypatch.delenv("IMAGEDELTA_KEY", raising=False)
    monkeypatch.delenv("IMAGEDELTA_TOKEN", raising=False)
    monkeypatch.delenv("IMAGEDELTA_USER", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_host_started_in_a_folder_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".imagedelta/host").mkdir(parents=True)
    (tmp_path / ".imagedelta/host/endpoint.json").write_text('{"url": "http://127.0.0.1:7071/", "key": "k"}')
    (tmp_path / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/er")

    assert find_endpoint(None, None) == Endpoint("http://127.0.0.1:7071", "k")


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEDELTA_URL", "https://there")
    monkeypatch.setenv("IMAGEDELTA_KEY", "k1")

    assert find_endpoint(None, None) == Endpoint("https://there", "k1")
    assert find_endpoint("https://here/", "k2") == Endpoint("https://here", "k2")


def test_a_token_goes_instead_of_a_key_and_says_itself_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEDELTA_URL", "https://there")
    monkeypatch.setenv("IMAGEDELTA_TOKEN", "eyJ0\n")

    found = find_endpoint(None, None)
    monkeypatch.setenv("IMAGEDELTA_USER", "grace")

    assert found.token is not None and found.token() == "eyJ0"
    assert found.credentials == {"Authorization": "Bearer eyJ0", "X-ImageDelta-User": "grace"}
    monkeypatch.delenv("IMAGEDELTA_USER")
    assert found.credentials == {"Authorization": "Bearer eyJ0"}
    assert find_endpoint(None, "k").credentials["x-functions-key"] == "k"


def test_neither_keys_nor_tokens_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        repr(Endpoint("http://h", "secret", {"north": "SharedAccessKey=secret"}, lambda: "secret"))
        == "Endpoint(url='http://h')"
    )


def test_a_refusal_of_who_asks_keeps_its_code_and_one_without_a_body_is_the_hosts() -> None:
    refusal = {"code": "caller.unknown", "detail": "no token", "remedy": "Sign in."}

    with pytest.raises(Problem, match="no token") as told:
        api_of(lambda request: httpx.Response(401, json=refusal)).get("devices")
    with pytest.raises(RequestError) as bare:
        api_of(lambda request: httpx.Response(401)).get("devices")

    assert (told.value.code, bare.value.code) == ("caller.unknown", "cli.wrong_key")


def test_without_a_host_the_error_says_how_to_get_one() -> None:
    with pytest.raises(RequestError) as caught:
        find_endpoint(None, None)
    assert caught.value.code == "cli.no_host"
    assert "imagedelta host start" in caught.value.remedy


def test_a_problem_keeps_its_code_and_remedy() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        body = {"code": "request.unknown_image", "detail": "not registered: app:9", "remedy": "Register it."}
        return httpx.Response(400, json=body, headers={"content-type": "application/problem+json"})

    with pytest.raises(Problem, match="app:9") as caught:
        api_of(refuse).post("deployment-sets", {})
    assert (caught.value.code, caught.value.remedy) == ("request.unknown_image", "Register it.")
    assert not caught.value.retryable


def test_an_order_without_an_answer_is_repeated_with_the_same_key() -> None:
    keys: list[str] = []

    def fail_twice(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(202, json={"setId": "set-1"})

    assert api_of(fail_twice).post("deployment-sets", {"name": "x"}) == {"setId": "set-1"}
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_two_orders_have_two_keys() -> None:
    keys: list[str] = []

    def take(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(200, json={})

    api = api_of(take)
    api.post("uploads")
    api.post("uploads")

    assert len(set(keys)) == 2


def test_a_host_that_never_answers_is_named() -> None:
    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(DependencyError, match="http://host does not answer") as caught:
        api_of(down).get("devices")
    assert caught.value.code == "dependency.host"


def test_a_wrong_key_is_told_apart() -> None:
    with pytest.raises(RequestError) as caught:
        api_of(lambda request: httpx.Response(401)).get("devices")
    assert caught.value.code == "cli.wrong_key"


def test_something_that_is_not_imagedelta_is_told_apart() -> None:
    with pytest.raises(RequestError) as caught:
        api_of(lambda request: httpx.Response(200, text="<html>")).get("devices")
    assert caught.value.code == "cli.no_host"


def test_lists_are_read_page_by_page_up_to_the_limit() -> None:
    asked: list[tuple[str, str | None]] = []

    def pages(request: httpx.Request) -> httpx.Response:
        limit, after = request.url.params["limit"], request.url.params.get("after")
        asked.append((limit, after))
        start = int(after or 0)
        items = [{"n": n} for n in range(start, min(start + int(limit), 1200))]
        return httpx.Response(200, json={"items": items, "next": str(start + len(items))})

    found = list(api_of(pages).pages("devices", most=700))

    assert [item["n"] for item in found] == list(range(700))
    assert asked == [("500", None), ("200", "500")]


def test_a_file_is_sent_with_the_headers_and_progress_that_were_asked_for(tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(b"x" * 3_000_000)
    seen: list[tuple[int, int]] = []
    received: dict[str, Any] = {}

    def storage(request: httpx.Request) -> httpx.Response:
        received.update(method=request.method, headers=dict(request.headers), size=len(request.read()))
        return httpx.Response(201)

    upload = {
        "url": "http://blobs/x?sig=1",
        "method": "PUT",
        "headers": {"x-ms-blob-type": "BlockBlob"},
        "maxBytes": 1e9,
    }
    api_of(storage).send_file(archive, upload, lambda done, total: seen.append((done, total)))

    assert (received["method"], received["size"]) == ("PUT", 3_000_000)
    assert received["headers"]["x-ms-blob-type"] == "BlockBlob"
    assert received["headers"]["content-length"] == "3000000"
    assert "transfer-encoding" not in received["headers"]
    assert "x-functions-key" not in received["headers"]
    assert seen[-1] == (3_000_000, 3_000_000)


def test_a_file_over_the_limit_is_not_sent(tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(b"x" * 11)
    upload = {"url": "http://blobs/x", "method": "PUT", "headers": {}, "maxBytes": 10}

    with pytest.raises(RequestError) as caught:
        api_of(lambda request: httpx.Response(500)).send_file(archive, upload, lambda done, total: None)
    assert caught.value.code == "request.too_large"


def test_ids_are_one_segment_of_a_path() -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.raw_path.decode()})

    assert api_of(echo).get(f"devices/{segment('a/b?c')}") == {"path": "/api/devices/a%2Fb%3Fc"}
