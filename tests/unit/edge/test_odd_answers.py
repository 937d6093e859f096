"""Portals, proxies and broken stores: whatever answers, nothing paid for is lost and nothing is refused for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from edge_module.device import Device
from tests.simulators.outbox_http import OutboxSimulator
from tests.unit.edge.world import APP_1, APP_2, CHUNK, MadeBundle, World, make_bundle, noise

Odd = Callable[[httpx.Request], httpx.Response | None]
PAGE = b"<html>please log in to the ship's wifi</html>" * 30
PIECE = 1024
BUNDLE = make_bundle()


def answer(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


def asked(request: httpx.Request) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["range"])
    assert match is not None
    return int(match[1]), int(match[2]) + 1


def part(request: httpx.Request, body: bytes, total: int = len(BUNDLE.data)) -> httpx.Response:
    """A 206 whose headers are right, whatever the body is."""
    start, end = asked(request)
    return answer(206, body, content_range=f"bytes {start}-{end - 1}/{total}")


def damaged(at: int) -> Callable[[httpx.Request], httpx.Response]:
    def odd(request: httpx.Request) -> httpx.Response:
        start, end = asked(request)
        body = bytearray(BUNDLE.data[start:end])
        body[at] ^= 1
        return part(request, bytes(body))

    return odd


def endless(request: httpx.Request) -> httpx.Response:
    class Endless(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield bytes(65536)

    start, end = asked(request)
    headers = {"content-range": f"bytes {start}-{end - 1}/{len(BUNDLE.data)}"}
    return httpx.Response(206, headers=headers, stream=Endless())


def on_request(number: int, suffix: str, odd: Callable[[httpx.Request], httpx.Response], times: int = 1) -> Odd:
    """Odd on the ``number``-th request for a blob whose name ends so, and as often as said from there."""
    count = 0

    def maybe(request: httpx.Request) -> httpx.Response | None:
        nonlocal count
        if not request.url.path.endswith(suffix):
            return None
        count += 1
        return odd(request) if number <= count < number + times else None

    return maybe


ANSWERS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "portal": lambda _: answer(200, PAGE, content_type="text/html", content_length=str(len(PAGE))),
    "portal-without-type": lambda _: answer(200, PAGE),
    "redirect": lambda _: answer(302, location="http://portal.test/"),
    "400": lambda _: answer(400),
    "403": lambda _: answer(403),
    "404": lambda _: answer(404),
    "412": lambda _: answer(412),
    "416": lambda _: answer(416),
    "500": lambda _: answer(500),
    "other-total": lambda r: part(r, b"x" * 100, total=70_001),
    "other-start": lambda _: answer(206, b"x" * 100, content_range=f"bytes 7-106/{len(BUNDLE.data)}"),
    "no-range": lambda _: answer(206, b"x" * 100),
    "gzip": lambda r: answer(206, b"x", content_encoding="gzip", content_range="bytes 0-0/1"),
    "short": lambda r: part(r, BUNDLE.data[asked(r)[0] : asked(r)[0] + 100]),
    "zeros": lambda r: part(r, bytes(asked(r)[1] - asked(r)[0])),
    "shifted": lambda r: part(r, BUNDLE.data[asked(r)[0] + 1 : asked(r)[1] + 1]),
    "flipped-at-0": damaged(0),
    "flipped-at-2": damaged(2),
    "flipped-at-200": damaged(200),
    "flipped-in-the-seal": damaged(BUNDLE.data.find(b"bundle.seal") + 51),
    "endless": endless,
}


@pytest.mark.parametrize("number", [1, 2], ids=["opening", "patch"])
@pytest.mark.parametrize("name", ANSWERS)
def test_one_odd_answer_for_the_bundle_costs_at_most_one_run_of_chunks(name: str, number: int) -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    world.outbox.odd = on_request(number, ".bundle", ANSWERS[name])

    world.run(turns=600)

    assert world.states() == ["receiving", "received", "applying", "succeeded"]
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 8 * CHUNK
    assert world.hub.reported.get("refusals") in ([], None)
    assert world.leftovers() == []


LISTS: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "portal": lambda _: answer(200, PAGE),
    "small-portal": lambda _: answer(200, PAGE[:30]),
    "truncated": lambda r: part(r, BUNDLE.chunks[:40], total=len(BUNDLE.chunks)),
    "flipped": lambda r: part(r, bytes(1) + BUNDLE.chunks[1:], total=len(BUNDLE.chunks)),
    "404": lambda _: answer(404),
    "412": lambda _: answer(412),
}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", LISTS)
def test_odd_answers_for_the_chunk_list_only_delay_it(name: str, times: int) -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    world.outbox.odd = on_request(1, ".chunks", LISTS[name], times)

    world.run(turns=600)

    assert world.states() == ["receiving", "received", "applying", "succeeded"]
    assert world.outbox.served[BUNDLE.name] == BUNDLE.paid_bytes


@pytest.mark.parametrize("status", [403, 404, 412, 416, 500, 503])
def test_a_store_that_is_odd_for_a_day_is_told_and_then_the_rest_is_fetched(status: int) -> None:
    world, device = half_fetched(BUNDLE)
    device.stop()
    world.outbox.odd = lambda r: None if "comp=list" in str(r.url) else answer(status)
    before = world.outbox.requests
    world.turn(device, 1440, seconds=60)
    asked_for = world.outbox.requests - before
    told = world.hub.reported.get("blocked")

    world.outbox.odd = lambda _: None
    world.turn(device, 600, seconds=1)

    assert asked_for < 800, "it waits longer after each failure"
    assert told
    assert "failed" not in world.states()
    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + PIECE


def half_fetched(bundle: MadeBundle, share: float = 0.75) -> tuple[World, Device]:
    world = World(APP_1)
    world.publish(bundle)
    device = world.boot()
    while world.outbox.served[bundle.name] < bundle.paid_bytes * share:
        device.turn()
    return world, device


def test_another_etag_over_the_same_bytes_costs_the_opening_once_more() -> None:
    world, device = half_fetched(BUNDLE)

    world.publish(BUNDLE)
    world.clock.now += 61
    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 4096 + 2 * PIECE


def test_a_bundle_that_a_list_misses_for_one_turn_goes_on_where_it_was() -> None:
    world, device = half_fetched(BUNDLE)
    missing = world.outbox.blobs.pop(BUNDLE.name)
    world.clock.now += 61
    device.turn()

    world.outbox.blobs[BUNDLE.name] = missing
    world.clock.now += 61
    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 2 * PIECE


def test_a_new_attempt_in_another_form_goes_on_with_the_same_patch() -> None:
    world, device = half_fetched(BUNDLE)
    again = make_bundle(attempt=2, bundle_id="bundle-2", number=8)
    world.outbox.remove(BUNDLE.name)
    world.hub.desired_now["revokedBundles"] = ["bundle-1"]

    world.share(again)
    world.clock.now += 61
    world.run(device)

    assert world.final_report() == ("succeeded", None)
    assert world.references()["app:2"] == APP_2.image_id
    patch = world.outbox.served[BUNDLE.name] + world.outbox.served[again.head.patch_sha256]
    assert patch <= BUNDLE.paid_bytes + CHUNK


def test_two_bundles_with_the_same_patch_fetch_it_once() -> None:
    world = World(APP_1)
    other = make_bundle(transfer_id="transfer-2", bundle_id="bundle-2", number=8)
    world.publish(BUNDLE)
    world.publish(other)

    world.run(turns=1000)

    assert (world.final_report(), world.final_report("transfer-2")) == (("succeeded", None), ("succeeded", None))
    assert world.outbox.served[BUNDLE.name] + world.outbox.served[other.name] <= BUNDLE.paid_bytes + 4096


def test_a_link_that_damages_every_chunk_in_another_way_is_never_the_bundles_fault() -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    count = 0

    def odd(request: httpx.Request) -> httpx.Response | None:
        nonlocal count
        if not request.url.path.endswith(".bundle") or asked(request)[0] == 0:
            return None
        count += 1
        return damaged(count % 1000)(request)

    world.outbox.odd = odd
    device = world.boot()
    world.turn(device, 3000, seconds=2)
    assert world.final_report() == ("blocked", "link.damages")
    assert count < 60, "it waits longer after each failure"

    world.outbox.odd = lambda _: None
    world.turn(device, 600, seconds=1)
    assert world.final_report() == ("succeeded", None)


def ignoring_range(outbox: OutboxSimulator, name: str, cut: Callable[[], bool]) -> Odd:
    def odd(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(name):
            return None
        data = outbox.blobs[name].data
        headers = {"content-length": str(len(data))}
        size = len(data) * 3 // 4 if cut() else len(data)
        return httpx.Response(200, headers=headers, stream=outbox._stream(name, data[:size], 0))

    return odd


def test_through_a_proxy_that_ignores_range_a_bundle_comes_in_one_piece() -> None:
    world = World(APP_1)
    world.publish(BUNDLE)
    world.outbox.odd = ignoring_range(world.outbox, BUNDLE.name, lambda: False)

    world.run(turns=600)

    assert world.states() == ["receiving", "received", "applying", "succeeded"]
    assert world.outbox.served[BUNDLE.name] <= BUNDLE.paid_bytes + 8192


def test_a_proxy_that_ignores_range_and_breaks_is_told_and_paid_for_a_few_times_a_day() -> None:
    world = World(APP_1)
    world.settings = replace(world.settings, poll_seconds=600.0)
    big = make_bundle(patch=noise(3_000_000, 5), chunk_bytes=256 * 1024)
    world.publish(big)
    world.outbox.piece_bytes = 64 * 1024
    breaks = True
    world.outbox.odd = ignoring_range(world.outbox, big.name, lambda: breaks)
    device = world.boot()

    world.turn(device, 4 * 1440, seconds=60)

    assert [each["code"] for each in world.hub.reported["blocked"]] == ["link.range_ignored"]
    assert world.final_report() == ("blocked", "link.range_ignored")
    assert world.outbox.served[big.name] < 7 * big.paid_bytes, "four days"
    breaks = False
    world.turn(device, 2 * 1440, seconds=60)
    assert "received" in world.states()


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_no_bundle_is_told_once_and_looked_at_again_every_hour(restart: bool) -> None:
    world = World(APP_1)
    world.outbox.put(BUNDLE.name, bytes(100_000))
    device = world.boot()
    world.turn(device, 600, seconds=60)
    assert world.hub.reported["refusals"] == [{"bundle": BUNDLE.name, "code": "content.invalid"}]
    assert world.outbox.served[BUNDLE.name] < 50 * 4096

    world.outbox.put(f"{BUNDLE.name}.chunks", BUNDLE.chunks)
    world.outbox.blobs[BUNDLE.name] = replace(world.outbox.blobs[BUNDLE.name], data=BUNDLE.data)
    world.clock.now += 3700
    world.run(world.boot() if restart else device, turns=2000)

    assert world.final_report() == ("succeeded", None)
