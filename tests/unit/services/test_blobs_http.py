"""The client of one container: what a store says is taken, everything odd is asked for again later."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from imagedelta.errors import ContentError, DependencyError
from services.blobs.http import MAX_LIST_BYTES, MAX_PAGES, BlobContainer, parse_list
from services.ports import BlobInfo
from tests.simulators.outbox_http import QUERY, URL, OutboxSimulator

BLOB = BlobInfo("a", 100, "e", datetime.fromtimestamp(0, UTC))
ALL = bytes(range(100))


def container(outbox: OutboxSimulator) -> BlobContainer:
    return BlobContainer(httpx.Client(transport=outbox), URL, QUERY)


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> BlobContainer:
    return BlobContainer(httpx.Client(transport=httpx.MockTransport(answer)), URL, "")


def code_of(store: BlobContainer, offset: int = 10, end: int = 15) -> str:
    with pytest.raises(DependencyError) as caught:
        list(store.stream(BLOB, offset, end))
    return caught.value.code


def test_a_list_of_several_pages_is_read_whole() -> None:
    outbox = OutboxSimulator(page=3)
    for number in range(10):
        outbox.put(f"n{number}&<x>.bundle", bytes(number))

    listed = container(outbox).list()

    assert [(blob.name, blob.size) for blob in listed] == [(f"n{each}&<x>.bundle", each) for each in range(10)]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no xml",
        b"<Other/>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><EnumerationResults/>',
        b"<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs></EnumerationResults>",
        b"<EnumerationResults>" + b"<a>" * 100 + b"</a>" * 100 + b"</EnumerationResults>",
        b"<EnumerationResults><Blobs><Blob><Name>" + b"a" * 2000 + b"</Name></Blob></Blobs></EnumerationResults>",
    ],
)
def test_a_list_that_is_none_is_odd(document: bytes) -> None:
    with pytest.raises(ContentError):
        parse_list(document)
    with pytest.raises(DependencyError) as caught:
        answering(lambda _: httpx.Response(200, stream=httpx.ByteStream(document))).list()
    assert caught.value.code == "link.odd_answer"


def test_an_outbox_that_is_gone_lists_nothing_and_any_other_404_is_no_list() -> None:
    gone = answering(lambda _: httpx.Response(404, headers={"x-ms-error-code": "ContainerNotFound"}))
    assert gone.list() == []

    with pytest.raises(DependencyError):
        answering(lambda _: httpx.Response(404)).list()


def test_a_list_has_a_bound_in_bytes_and_in_pages() -> None:
    asked = []

    def endless_pages(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        page = b"<EnumerationResults><Blobs/><NextMarker>x</NextMarker></EnumerationResults>"
        return httpx.Response(200, stream=httpx.ByteStream(page))

    def endless_page(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Endless(sent))

    sent: list[int] = []
    for answer in (endless_pages, endless_page):
        with pytest.raises(DependencyError) as caught:
            answering(answer).list()
        assert caught.value.code == "link.odd_answer"
    assert len(asked) == MAX_PAGES
    assert sum(sent) <= MAX_LIST_BYTES + 65536


class Endless(httpx.SyncByteStream):
    def __init__(self, sent: list[int]) -> None:
        self._sent = sent

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self._sent.append(65536)
            yield bytes(65536)


def test_no_more_is_taken_of_an_endless_answer_than_was_asked_for() -> None:
    sent: list[int] = []
    headers = {"content-range": "bytes 10-99/100"}
    store = answering(lambda _: httpx.Response(206, headers=headers, stream=Endless(sent)))

    assert list(store.stream(BLOB, 10, 15)) == [bytes(5)]
    assert sent == [65536]


def test_answers_become_codes() -> None:
    outbox = OutboxSimulator()
    outbox.put("a", ALL)
    store, blob = container(outbox), container(outbox).list()[0]

    assert b"".join(store.stream(blob, 10, 15)) == ALL[10:15]
    for odd, start, code in (
        (replace(blob, name="missing"), 0, "blob.missing"),
        (replace(blob, etag="other"), 0, "blob.changed"),
        (replace(blob, size=101), 50, "blob.changed"),
        (blob, 100, "blob.changed"),
    ):
        with pytest.raises(DependencyError) as caught:
            list(store.stream(odd, start, start + 10))
        assert caught.value.code == code
    outbox.status = 503
    with pytest.raises(DependencyError):
        store.list()
    outbox.reachable = False
    with pytest.raises(DependencyError):
        store.list()


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(206, content=b"12345"), "link.odd_answer"),
        (httpx.Response(206, headers={"content-range": "bytes 0-4/100"}, content=b"12345"), "link.odd_answer"),
        (httpx.Response(302, headers={"location": "http://portal.test/login"}), "link.odd_answer"),
        (httpx.Response(200, headers={"content-type": "text/html; charset=utf-8"}, content=ALL), "link.odd_answer"),
        (
            httpx.Response(
                206,
                headers={"content-range": "bytes 10-14/100", "content-encoding": "gzip"},
                content=gzip.compress(b"12345"),
            ),
            "link.odd_answer",
        ),
        (httpx.Response(200, headers={"content-length": "100"}, content=ALL), "link.range_ignored"),
        (httpx.Response(200, headers={"content-length": "1x"}, content=ALL), "link.odd_answer"),
        (httpx.Response(403), "outbox.denied"),
    ],
    ids=["no-range", "other-range", "redirect", "web-page", "repacked", "range-ignored", "length", "denied"],
)
def test_bytes_that_were_not_asked_for_are_not_taken(response: httpx.Response, code: str) -> None:
    assert code_of(answering(lambda _: response)) == code


def test_from_a_server_that_ignores_range_the_rest_is_taken_when_that_is_wanted() -> None:
    store = answering(lambda _: httpx.Response(200, stream=httpx.ByteStream(ALL)))

    assert b"".join(store.stream(BLOB, 10, 15, skip=True)) == ALL[10:15]
    assert b"".join(store.stream(BLOB, 0, 100)) == ALL
