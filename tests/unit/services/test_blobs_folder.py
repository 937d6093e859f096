"""Blobs in a folder: whole or absent, content kept once, nothing outside, grants the host can check."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from imagedelta.errors import ContentError, DependencyError, RequestError
from services.blobs.folder import FolderBlobs, grant_signature
from services.ports import BlobRange
from tests.simulators.calls import Crash

KEY = base64.b64encode(b"k" * 32).decode()
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs", url="http://host/blobs/", key=KEY, now=lambda: NOW)


def test_what_is_put_is_read_back_by_ranges(blobs: FolderBlobs) -> None:
    info = blobs.put("layers", "ab", [b"0123", b"", b"456789"])

    assert (info.name, info.size) == ("ab", 10)
    assert blobs.read("layers", "ab") == b"0123456789"
    assert blobs.read("layers", "ab", 3, 4) == b"3456"
    with blobs.open("layers", "ab") as stream:
        stream.seek(-2, os.SEEK_END)
        assert (stream.read(), stream.tell()) == (b"89", 10)


def test_putting_again_replaces_and_changes_the_etag(blobs: FolderBlobs) -> None:
    first = blobs.put("scratch", "one", [b"old"])
    second = blobs.put("scratch", "one", [b"new"])

    assert blobs.read("scratch", "one") == b"new"
    assert first.etag != second.etag


def test_content_addressed_blobs_are_written_once(blobs: FolderBlobs) -> None:
    first = blobs.put_if_absent("layers", "ab", [b"content"])
    second = blobs.put_if_absent("layers", "ab", [b"never read"])

    assert second == first
    assert blobs.read("layers", "ab") == b"content"


def test_of_two_writers_of_one_name_the_first_stays(blobs: FolderBlobs) -> None:
    def slow() -> object:
        yield b"slow"
        blobs.put_if_absent("layers", "ab", [b"fast"])

    blobs.put_if_absent("layers", "ab", slow())  # type: ignore[arg-type]

    assert blobs.read("layers", "ab") == b"fast"


def test_a_writer_that_fails_leaves_nothing_behind(blobs: FolderBlobs, tmp_path: Path) -> None:
    def broken() -> object:
        yield b"half"
        raise ContentError("the archive is cut short")

    with pytest.raises(ContentError):
        blobs.put("layers", "ab", broken())  # type: ignore[arg-type]

    assert blobs.info("layers", "ab") is None
    assert list((tmp_path / "blobs" / "layers").iterdir()) == []


def test_a_blob_is_composed_of_literals_and_ranges(blobs: FolderBlobs) -> None:
    blobs.put("patches", "p", [b"0123456789" * 300_000])

    blobs.compose_if_absent("outbox-boat", "b.bundle", [b"<", BlobRange("patches", "p", 5, 2_000_000), b">"])

    made = blobs.read("outbox-boat", "b.bundle")
    assert made == b"<" + (b"0123456789" * 300_000)[5:2_000_005] + b">"


def test_composing_past_the_end_of_a_blob_makes_nothing(blobs: FolderBlobs) -> None:
    blobs.put("patches", "p", [b"short"])

    with pytest.raises(ContentError) as caught:
        blobs.compose_if_absent("outbox-boat", "b.bundle", [BlobRange("patches", "p", 0, 6)])

    assert caught.value.code == "content.truncated"
    assert blobs.info("outbox-boat", "b.bundle") is None


def test_a_bundle_that_is_there_is_not_composed_again(blobs: FolderBlobs) -> None:
    first = blobs.compose_if_absent("outbox-boat", "b.bundle", [b"first"])

    again = blobs.compose_if_absent("outbox-boat", "b.bundle", [b"second", BlobRange("patches", "none", 0, 6)])

    assert again == first
    assert blobs.read("outbox-boat", "b.bundle") == b"first"


def test_many_threads_read_one_blob_at_once_and_each_gets_its_bytes(blobs: FolderBlobs) -> None:
    data = os.urandom(1 << 20)
    blobs.put("layers", "ab", [data])
    places = [(offset * 4096, 4096 + offset) for offset in range(200)] * 5

    with ThreadPoolExecutor(16) as pool:
        read = pool.map(lambda place: blobs.read_at("layers", "ab", *place), places)

    assert list(read) == [data[offset : offset + length] for offset, length in places]


def test_a_read_that_the_system_gives_in_parts_is_whole(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.put("layers", "ab", [b"0123456789"])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, offset: pread(file, min(length, 3), offset))

    assert blobs.read_at("layers", "ab", 1, 8) == b"12345678"


@pytest.mark.parametrize(("name", "code"), [("ab", "content.truncated"), ("none", "content.missing")])
def test_bytes_that_are_not_there_are_not_made_up(blobs: FolderBlobs, name: str, code: str) -> None:
    blobs.put("layers", "ab", [b"0123456789"])

    with pytest.raises(ContentError) as caught:
        blobs.read_at("layers", name, 5, 6)
    assert caught.value.code == code


def test_a_container_goes_with_everything_in_it(blobs: FolderBlobs, tmp_path: Path) -> None:
    blobs.put("outbox-boat", "1-a", [b"x"])
    blobs.put("outbox-ship", "1-a", [b"y"])

    blobs.delete_container("outbox-boat")
    blobs.delete_container("outbox-boat")

    assert list(blobs.list("outbox-boat")) == []
    assert sorted(path.name for path in (tmp_path / "blobs").iterdir()) == ["outbox-ship"]
    assert blobs.put("outbox-boat", "1-a", [b"new"]).size == 3


def test_a_container_whose_deletion_was_cut_short_is_gone_and_cleared_at_the_next_start(
    blobs: FolderBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put("outbox-boat", "1-a", [b"x"])

    def dies(folder: Path, **more: object) -> None:
        raise Crash

    monkeypatch.setattr("shutil.rmtree", dies)

    with pytest.raises(Crash):
        blobs.delete_container("outbox-boat")
    assert list(blobs.list("outbox-boat")) == []

    monkeypatch.undo()
    FolderBlobs(tmp_path / "blobs", url="", key=KEY)
    assert list((tmp_path / "blobs").iterdir()) == []


def test_lists_are_in_order_and_without_half_written_blobs(blobs: FolderBlobs, tmp_path: Path) -> None:
    for name in ("2-b", "1-a", "1-c"):
        blobs.put("outbox-boat", name, [b"x"])
    (tmp_path / "blobs/outbox-boat/.1-z.1234.tmp").write_bytes(b"half")

    assert [info.name for info in blobs.list("outbox-boat")] == ["1-a", "1-c", "2-b"]
    assert [info.name for info in blobs.list("outbox-boat", "1-")] == ["1-a", "1-c"]
    assert list(blobs.list("outbox-none")) == []


def test_a_missing_blob_is_named(blobs: FolderBlobs) -> None:
    with pytest.raises(ContentError, match="layers/ab") as caught:
        blobs.open("layers", "ab")
    assert caught.value.code == "content.missing"
    assert blobs.info("layers", "ab") is None
    blobs.delete("layers", "ab")


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".hidden", "a\0b", "x" * 256, "-", "a\n"])
def test_names_that_could_leave_the_folder_are_refused(blobs: FolderBlobs, name: str) -> None:
    with pytest.raises(RequestError) as caught:
        blobs.put("intake", name, [b"x"])
    assert caught.value.code == "request.blob_name"


@pytest.mark.parametrize("container", ["..", "UPPER", "a", "x/y", "-ab", "ab-", "", "a" * 64])
def test_containers_that_no_storage_would_take_are_refused(blobs: FolderBlobs, container: str) -> None:
    with pytest.raises(RequestError):
        blobs.info(container, "blob")


def test_a_full_disk_is_worth_another_try(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(DependencyError, match="No space left") as caught:
        blobs.put("layers", "ab", [b"x"])

    assert caught.value.retryable
    monkeypatch.undo()
    assert blobs.info("layers", "ab") is None


def test_a_read_grant_opens_one_container_until_its_end(blobs: FolderBlobs, tmp_path: Path) -> None:
    grant = blobs.read_grant("outbox-boat", timedelta(days=30))
    query = parse_qs(grant.query)

    assert (query["sp"], query["sr"], query["se"]) == (["rl"], ["c"], ["2030-01-31T00:00:00Z"])
    assert grant.expires_at == datetime(2030, 1, 31, tzinfo=UTC)
    assert query["sig"] == [grant_signature(KEY, "rl", "2030-01-31T00:00:00Z", "c", "outbox-boat", None)]
    assert (tmp_path / "blobs/outbox-boat").is_dir()


def test_a_write_url_opens_one_blob(blobs: FolderBlobs) -> None:
    url = urlsplit(blobs.write_url("intake", "upload-1", timedelta(hours=1)))

    query = parse_qs(url.query)
    assert (url.netloc, url.path) == ("host", "/blobs/intake/upload-1")
    assert (query["sp"], query["sr"], query["se"]) == (["rcw"], ["b"], ["2030-01-01T01:00:00Z"])
    assert query["sig"] == [grant_signature(KEY, "rcw", "2030-01-01T01:00:00Z", "b", "intake", "upload-1")]


def test_temporary_files_of_dead_writers_are_cleared_after_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "blobs/layers"
    folder.mkdir(parents=True)
    old, young = folder / ".ab.1.tmp", folder / ".cd.2.tmp"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (0, 0))

    FolderBlobs(tmp_path / "blobs", url="http://host", key=KEY)

    assert (old.exists(), young.exists()) == (False, True)
