"""Archives on their way to the storage: whole or in blocks, over links that break, stopped and gone on with."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta.errors import DependencyError, RequestError
from imagedelta_cli import api_options
from imagedelta_cli.api_client import Api, Endpoint
from imagedelta_cli.kept_uploads import KeptUpload
from imagedelta_cli.main import run
from imagedelta_cli.uploading import AccessOver, Sender
from tests.simulators.block_storage import BlockStorage

UPLOAD = {
    "uploadId": "u",
    "url": "http://blobs/intake/u?sp=rcw&sig=secret",
    "method": "PUT",
    "headers": {"x-ms-blob-type": "BlockBlob"},
    "maxBytes": 1 << 30,
    "blockBytes": 1000,
    "expiresAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
}
DATA = os.urandom(10_500)
REFUSED = httpx.ConnectError("refused")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "app.tar"
    path.write_bytes(DATA)
    return path


def send(storage: BlockStorage, archive: Path) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    client = httpx.Client(transport=httpx.MockTransport(storage))
    Sender(client, UPLOAD, pause=0).send(archive, lambda done, size: seen.append((done, size)))
    return seen


def test_a_large_archive_is_sent_in_blocks_and_is_whole(archive: Path) -> None:
    storage = BlockStorage()

    seen = send(storage, archive)

    assert storage.blob == DATA
    assert storage.requests == ["HEAD", "list", *["block"] * 11, "blocklist"]
    assert (len(seen), seen[-1]) == (11, (10_500, 10_500))


@pytest.mark.parametrize("size", [0, 999, 1000])
def test_what_fits_into_a_block_is_sent_by_one_request(archive: Path, size: int) -> None:
    archive.write_bytes(DATA[:size])
    storage = BlockStorage()

    send(storage, archive)

    assert (storage.blob, storage.requests) == (DATA[:size], ["PUT"])


@pytest.mark.parametrize("lose_answers", [False, True], ids=["not done", "done, answer lost"])
@pytest.mark.parametrize("nth", range(1, 15))
@pytest.mark.parametrize("trouble", [REFUSED, httpx.Response(503)], ids=["link", "busy"])
def test_any_request_may_fail_once(archive: Path, nth: int, lose_answers: bool, trouble: Any) -> None:
    storage = BlockStorage()
    storage.lose_answers = lose_answers
    storage.trouble = lambda number, kind: trouble if number == nth else None

    send(storage, archive)

    assert storage.blob == DATA
    assert storage.requests.count("block") <= 12


def test_what_was_staged_before_a_stop_is_not_sent_again(archive: Path) -> None:
    storage = BlockStorage()
    storage.trouble = lambda number, kind: KeyboardInterrupt() if number == 9 else None
    with pytest.raises(KeyboardInterrupt):
        send(storage, archive)
    before = storage.requests.count("block")

    storage.trouble = lambda number, kind: None
    send(storage, archive)

    assert storage.blob == DATA
    assert (before, storage.requests.count("block")) == (7, 7 + 5)


def test_a_file_that_was_changed_meanwhile_is_not_mixed_with_what_was_sent_of_the_old_one(archive: Path) -> None:
    storage = BlockStorage()
    storage.trouble = lambda number, kind: REFUSED if number > 8 else None
    with pytest.raises(DependencyError):
        send(storage, archive)
    changed = DATA[:2500] + b"changed" + DATA[2507:]
    archive.write_bytes(changed)

    storage.trouble = lambda number, kind: None
    send(storage, archive)

    assert storage.blob == changed


def test_an_archive_that_is_there_is_not_sent_again(archive: Path) -> None:
    storage = BlockStorage()
    storage.blob = DATA

    assert send(storage, archive) == [(10_500, 10_500)]
    assert storage.requests == ["HEAD"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_url_that_opens_nothing_any_more_is_told_apart_without_its_secret(archive: Path, status: int) -> None:
    storage = BlockStorage()
    storage.trouble = lambda number, kind: httpx.Response(status)

    with pytest.raises(AccessOver) as caught:
        send(storage, archive)
    assert "secret" not in str(caught.value)
    assert len(storage.requests) == 1


def test_a_storage_that_refuses_is_not_asked_for_ever(archive: Path) -> None:
    storage = BlockStorage()
    storage.trouble = lambda number, kind: httpx.Response(413) if kind == "block" else None

    with pytest.raises(RequestError) as caught:
        send(storage, archive)
    assert caught.value.code == "cli.upload"


def test_a_list_of_blocks_that_is_none_costs_no_more_than_sending_everything(archive: Path) -> None:
    storage = BlockStorage()
    storage.trouble = lambda number, kind: httpx.Response(200, text="<html>") if kind == "list" else None

    send(storage, archive)

    assert storage.blob == DATA


class Host:
    """A host and its storage as the command meets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.storage = BlockStorage()
        self.uploads = 0
        monkeypatch.setenv("IMAGEDELTA_URL", "http://host")
        monkeypatch.setattr(api_options, "Api", self._api)

    def _api(self, endpoint: Endpoint) -> Api:
        return Api(endpoint, client=httpx.Client(transport=httpx.MockTransport(self._answer)), pause=0)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "blobs":
            return self.storage(request)
        if request.url.path == "/api/uploads":
            self.uploads += 1
            return httpx.Response(201, json=UPLOAD)
        if request.url.path == "/api/images":
            return httpx.Response(202, json={"registrationId": "r"})
        failed = {"registrationId": "r", "state": "failed", "code": "x", "detail": "done", "remedy": ""}
        return httpx.Response(200, json=failed)


def test_the_same_command_goes_on_with_an_upload_that_was_cut_off(
    archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(monkeypatch)
    host.storage.trouble = lambda number, kind: REFUSED if number > 8 else None
    assert run(["register", str(archive)]) == 3

    host.storage.trouble = lambda number, kind: None
    run(["register", str(archive)])

    assert "done" in capsys.readouterr().err
    assert (host.uploads, host.storage.blob) == (1, DATA)
    assert len([kind for kind in host.storage.requests if kind == "block"]) == 6 + 6 + 5  # 6 tries of the seventh
    assert list((archive.parent / "state").rglob("*.json")) == []


def test_an_upload_that_the_host_no_longer_knows_is_begun_anew(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch)
    KeptUpload("http://host", archive).write(UPLOAD)
    host.storage.trouble = lambda number, kind: httpx.Response(403) if number == 1 else None

    run(["register", str(archive)])

    assert (host.uploads, host.storage.blob) == (1, DATA)


def test_a_kept_upload_is_for_its_owner_and_its_archive_alone(archive: Path) -> None:
    kept = KeptUpload("http://host", archive)
    kept.write(UPLOAD)

    (path,) = (archive.parent / "state").rglob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept.read() == UPLOAD
    assert KeptUpload("http://other", archive).read() is None
    archive.write_bytes(DATA + b"x")
    assert KeptUpload("http://host", archive).read() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff", json.dumps({**UPLOAD, "expiresAt": "2020-01-01T00:00:00+00:00"}).encode()]
    + [json.dumps({**UPLOAD, "expiresAt": value}).encode() for value in ("soon", 7, "2099-01-01T00:00:00")],
)
def test_a_kept_upload_that_is_over_or_damaged_is_dropped(archive: Path, content: bytes) -> None:
    kept = KeptUpload("http://host", archive)
    kept.write(UPLOAD)
    (path,) = (archive.parent / "state").rglob("*.json")
    path.write_bytes(content)

    assert kept.read() is None
    assert not path.exists()


def test_without_a_place_for_what_was_begun_it_is_sent_all_the_same(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive.parent / "state").write_text("in the way")
    host = Host(monkeypatch)

    run(["register", str(archive)])

    assert host.storage.blob == DATA
