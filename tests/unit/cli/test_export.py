"""A folder of bundles for a person to carry: whole, checked, gone on with, and nothing foreign in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta.bundles import read_shared
from imagedelta_cli import api_options, exits
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.main import run
from tests.unit.bundles.bundles import PATCH, a_bundle, a_shared

BUNDLE = a_bundle(transfer_id="t-1")
NAME = "2-000000000001-t-1-1"
ITEM: dict[str, Any] = {
    "transferId": "t-1",
    "reference": "app:2",
    "imageId": "sha256:" + "2" * 64,
    "bundle": f"{NAME}.bundle",
    "bundleBytes": len(BUNDLE),
    "url": "http://store/bundle?sig=secret",
    "patchUrl": None,
}
Serve = Callable[[httpx.Request], httpx.Response]


class Storage:
    """Answers with ``content``; ``cuts`` are lengths after which an answer breaks off."""

    def __init__(self, *cuts: int, **content: bytes) -> None:
        self.content = content
        self.cuts = list(cuts)
        self.ranges: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        data = self.content[request.url.path.strip("/")]
        wanted = request.headers.get("range", "")
        self.ranges.append(wanted)
        start = int(wanted[6:].partition("-")[0]) if wanted else 0
        return httpx.Response(
            206 if wanted else 200, stream=_Broken(data[start:], self.cuts.pop(0) if self.cuts else 0)
        )


class _Broken(httpx.SyncByteStream):
    def __init__(self, data: bytes, cut: int) -> None:
        self._data, self._cut = data, cut

    def __iter__(self) -> Iterator[bytes]:
        if not self._cut:
            yield self._data
            return
        yield self._data[: self._cut]
        raise httpx.ReadError("cut")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What the host says, and what the storage does."""

    def serve(storage: Serve, *items: dict[str, Any], not_ready: Any = ()) -> None:
        def handle(request: httpx.Request) -> httpx.Response:
            if request.url.host == "store":
                assert "x-functions-key" not in request.headers
                return storage(request)
            said = {"deviceId": "boat", "expiresAt": "x", "bundles": list(items), "notReady": list(not_ready)}
            return httpx.Response(200, json=said)

        def api(endpoint: Endpoint) -> Api:
            return Api(endpoint, client=httpx.Client(transport=httpx.MockTransport(handle)), pause=0)

        monkeypatch.setattr(api_options, "Api", api)
        monkeypatch.setenv("IMAGEDELTA_URL", "http://host")
        monkeypatch.setenv("IMAGEDELTA_KEY", "key")

    return serve


def export(folder: Path) -> int:
    return run(["export", "boat", "-o", str(folder), "--json"])


def test_the_folder_holds_the_bundle_and_its_digest(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers(Storage(bundle=BUNDLE), ITEM)

    assert export(tmp_path / "stick") == exits.DONE

    digest = hashlib.sha256(BUNDLE).hexdigest()
    assert (tmp_path / "stick" / f"{NAME}.carried.bundle").read_bytes() == BUNDLE
    assert (tmp_path / "stick/SHA256SUMS").read_text() == f"{digest}  {NAME}.carried.bundle\n"
    (bundle,) = json.loads(capsys.readouterr().out)["bundles"]
    assert bundle == {
        "file": f"{NAME}.carried.bundle",
        "bytes": len(BUNDLE),
        "sha256": digest,
        "reference": "app:2",
        "transferId": "t-1",
    }


def test_a_shared_bundle_is_put_together_with_its_patch(answers: Any, tmp_path: Path) -> None:
    file = a_shared(transfer_id="t-1")
    parts = read_shared(file)
    shared = {"bundle": f"{NAME}.shared", "patchUrl": "http://store/patch", "bundleBytes": parts.bundle_bytes}
    answers(Storage(bundle=file, patch=PATCH), {**ITEM, **shared})

    assert export(tmp_path) == exits.DONE
    assert (tmp_path / f"{NAME}.carried.bundle").read_bytes() == parts.before + PATCH + parts.after


def test_a_broken_link_costs_no_byte_twice(answers: Any, tmp_path: Path) -> None:
    storage = Storage(100, 30, bundle=BUNDLE)
    answers(storage, ITEM)

    assert export(tmp_path) == exits.DONE
    assert [wanted.partition("-")[0] for wanted in storage.ranges] == ["bytes=0", "bytes=100", "bytes=130"]
    assert (tmp_path / f"{NAME}.carried.bundle").read_bytes() == BUNDLE


def test_what_is_there_already_is_not_fetched_again(answers: Any, tmp_path: Path) -> None:
    answers(Storage(bundle=BUNDLE), ITEM)
    assert export(tmp_path) == exits.DONE
    storage = Storage(bundle=BUNDLE)
    answers(storage, ITEM)

    assert export(tmp_path) == exits.DONE
    assert storage.ranges == []


@pytest.mark.parametrize("spoilt", [BUNDLE[:-40] + bytes(40), bytes(len(BUNDLE)), a_bundle(transfer_id="t-2")])
def test_what_is_not_the_bundle_does_not_stay_in_the_folder(answers: Any, tmp_path: Path, spoilt: bytes) -> None:
    answers(Storage(bundle=spoilt), ITEM)

    assert export(tmp_path) == exits.UNAVAILABLE
    assert list(tmp_path.iterdir()) == []


def refuses(status: int) -> Serve:
    return lambda request: httpx.Response(status, text="<html>")


def hangs(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out")


@pytest.mark.parametrize(
    ("storage", "exit_code", "code"),
    [
        (refuses(403), exits.REFUSED, "cli.export_gone"),
        (refuses(404), exits.REFUSED, "cli.export_gone"),
        (refuses(503), exits.UNAVAILABLE, "dependency.host"),
        (hangs, exits.UNAVAILABLE, "dependency.host"),
        (Storage(bundle=b""), exits.UNAVAILABLE, "dependency.host"),
    ],
)
def test_a_storage_that_gives_nothing_leaves_nothing(
    answers: Any, tmp_path: Path, capsys: Any, storage: Serve, exit_code: int, code: str
) -> None:
    answers(storage, ITEM)

    assert export(tmp_path) == exit_code

    told = capsys.readouterr().err
    assert json.loads(told.splitlines()[-1])["error"]["code"] == code
    assert "secret" not in told
    assert list(tmp_path.iterdir()) == []


def test_who_stops_it_is_told_what_is_there_and_how_to_go_on(answers: Any, tmp_path: Path, capsys: Any) -> None:
    def stopped(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    first = {**ITEM, "bundle": "1-000000000001-t-1-1.bundle"}
    calls: list[Serve] = [Storage(bundle=BUNDLE), stopped]
    answers(lambda request: calls.pop(0)(request), first, {**ITEM, "reference": "app:3"})

    assert export(tmp_path) == exits.INTERRUPTED

    assert "the same command goes on" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["1-000000000001-t-1-1.carried.bundle"]


def test_an_endless_answer_is_cut_where_the_bundle_ends(answers: Any, tmp_path: Path) -> None:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield BUNDLE
            while True:
                yield bytes(1 << 20)

    answers(lambda request: httpx.Response(206, stream=Endless()), ITEM)

    assert export(tmp_path) == exits.DONE
    assert (tmp_path / f"{NAME}.carried.bundle").read_bytes() == BUNDLE


@pytest.mark.parametrize("name", ["../../etc/passwd.bundle", ".hidden.bundle", "a/b.bundle", "", "a\nb.bundle"])
def test_a_name_that_leads_elsewhere_is_refused(answers: Any, tmp_path: Path, name: str) -> None:
    answers(Storage(bundle=BUNDLE), {**ITEM, "bundle": name})

    assert export(tmp_path / "stick") == exits.REFUSED
    assert not (tmp_path / "stick").exists()


def test_bundles_of_another_device_are_not_mixed_in(answers: Any, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "2-000000000009-t-9-1.carried.bundle").write_bytes(b"another's")
    answers(Storage(bundle=BUNDLE), ITEM)

    assert export(tmp_path) == exits.REFUSED
    assert "cli.export_folder" in capsys.readouterr().err
    assert not (tmp_path / "SHA256SUMS").exists()


def test_what_is_not_ready_is_named(answers: Any, tmp_path: Path, capsys: Any) -> None:
    answers(Storage(), not_ready=[{"transferId": "t-3", "reference": "app:3", "stage": "building", "code": None}])

    assert run(["export", "boat", "-o", str(tmp_path)]) == exits.DONE
    assert "Not in the folder: app:3 is building." in capsys.readouterr().out
