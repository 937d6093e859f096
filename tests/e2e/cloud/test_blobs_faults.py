"""Every request of every way to make, read and publish a blob going wrong once: nothing is half, doubled or lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from activities.publish_batch import publish_batch
from contracts.outbox import outbox_container
from contracts.records import Transfer
from imagedelta.errors import ContentError, DependencyError
from services.blobs.azure import AzureBlobs
from services.ports import BlobRange
from store.sql import SqlStore
from tests.blobs.suite import in_chunks, noise
from tests.e2e.cloud.blob_accounts import BLOCK, blobs_of, small_blocks, trust
from tests.e2e.cloud.storage_faults import StorageLink
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority
from tests.simulators.calls import Crash
from tests.unit.activities.bench import DEVICE, Bench
from tests.unit.activities.test_publish_batch import prepared

pytestmark = pytest.mark.e2e
BIG = noise(2 * BLOCK + 9)
ONCE, LASTING, DEATHS = ("refused", "lost", "busy"), ("away",), ("killed", "killed late")


class Way:
    """To the storage, with faults on it."""

    def __init__(self, azurite: Azurite, by_key: bool = False) -> None:
        self.link = StorageLink()
        self.slept: list[float] = []
        self.blobs: AzureBlobs
        self._azurite, self._by_key = azurite, by_key
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is remembered."""
        self.link.heal()
        self.blobs = blobs_of(
            self._azurite, by_key=self._by_key, transport=self.link.transport(), sleep=self.slept.append
        )


@pytest.fixture
def way(azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Way]:
    trust(monkeypatch, authority, tmp_path)
    small_blocks(monkeypatch)
    return lambda **options: Way(azurite, **options)


def put(blobs: AzureBlobs, box: str) -> None:
    blobs.put(box, "blob", in_chunks(BIG, 30_000))


def put_small(blobs: AzureBlobs, box: str) -> None:
    blobs.put(box, "blob", [b"small"])


def put_if_absent(blobs: AzureBlobs, box: str) -> None:
    assert blobs.put_if_absent(box, "blob", in_chunks(BIG, 30_000)) == blobs.info(box, "blob")


def put_small_if_absent(blobs: AzureBlobs, box: str) -> None:
    assert blobs.put_if_absent(box, "blob", [b"small"]) == blobs.info(box, "blob")


def compose(blobs: AzureBlobs, box: str) -> None:
    parts: Sequence[bytes | BlobRange] = [b"<", BlobRange("patches", "of-faults", 3, BLOCK), b">"]
    assert blobs.compose_if_absent(box, "blob", parts) == blobs.info(box, "blob")


WRITES: dict[Callable[[AzureBlobs, str], None], bytes] = {
    put: BIG,
    put_small: b"small",
    put_if_absent: BIG,
    put_small_if_absent: b"small",
    compose: b"<" + BIG[3 : BLOCK + 3] + b">",
}


def requests_of(way: Way, write: Callable[[AzureBlobs, str], None]) -> int:
    before = way.link.count
    write(way.blobs, f"faults-{secrets.token_hex(6)}")
    return way.link.count - before


@pytest.mark.parametrize("how", [*ONCE, *LASTING, *DEATHS])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_a_write_whose_every_request_fails_is_whole_in_the_end(
    way: Callable[..., Way], write: Callable[[AzureBlobs, str], None], how: str
) -> None:
    at = way()
    at.blobs.put("patches", "of-faults", [BIG])
    for nth in range(1, requests_of(at, write) + 1):
        box = f"faults-{secrets.token_hex(6)}"
        at.restart()
        at.link.fail(nth, how)
        if how in ONCE:
            write(at.blobs, box)
        else:
            with pytest.raises((DependencyError, Crash)):
                write(at.blobs, box)
            at.restart()
            assert [info.size for info in at.blobs.list(box)] in ([], [len(WRITES[write])]), "nothing half is seen"
            write(at.blobs, box)

        assert at.blobs.read(box, "blob") == WRITES[write]
        assert [info.name for info in at.blobs.list(box)] == ["blob"]


@pytest.mark.parametrize(("how", "by_key"), [("refused", False), ("busy", True), ("away", True), ("away", False)])
def test_reads_lists_and_grants_whose_every_request_fails_are_right_or_tell_that_they_are_not(
    way: Callable[..., Way], how: str, by_key: bool
) -> None:
    at = way(by_key=by_key)
    box = f"faults-{secrets.token_hex(6)}"
    names = [f"b{number}" for number in range(5)]
    for name in names:
        at.blobs.put(box, name, [BIG[:5000]])

    def look() -> None:
        assert at.blobs.read_at(box, "b1", 5, 1000) == BIG[5:1005]
        with at.blobs.open(box, "b2") as stream:
            assert stream.read() == BIG[:5000]
        assert [info.name for info in at.blobs.list(box)] == names
        assert at.blobs.info(box, "none") is None
        assert at.blobs.read_grant(box, timedelta(hours=1)).query
        assert at.blobs.write_url(f"{box}-new", "b", timedelta(hours=1))
        at.blobs.delete(box, "none")
        at.blobs.delete_container(f"{box}-new")

    look()
    at.restart()
    before = at.link.count
    look()
    for nth in range(1, at.link.count - before + 1):
        at.restart()
        at.link.fail(nth, how)
        if how in LASTING:
            with pytest.raises(DependencyError):
                look()
            at.restart()
        look()


def test_a_storage_that_asks_to_be_left_alone_is_given_the_time_or_says_how_long(way: Callable[..., Way]) -> None:
    at = way()
    put_small(at.blobs, "faults-busy")
    at.link.fail(1, "busy")

    assert at.blobs.read("faults-busy", "blob") == b"small"
    assert at.slept == [2.0]


@pytest.mark.parametrize("killed_at", range(2, 5))
def test_what_had_arrived_before_a_crash_is_not_sent_again(way: Callable[..., Way], killed_at: int) -> None:
    at = way()
    data, box = noise(6 * BLOCK, killed_at), f"faults-{secrets.token_hex(6)}"
    at.blobs.put(box, "other", [b"x"])
    at.link.fail(killed_at + 2, "killed")  # after the look for the blob and for its blocks
    with pytest.raises(Crash):
        at.blobs.put_if_absent(box, "blob", in_chunks(data, 30_000))

    at.restart()
    before = at.link.sent_bytes
    at.blobs.put_if_absent(box, "blob", in_chunks(data, 30_000))

    assert at.blobs.read(box, "blob") == data
    assert at.link.sent_bytes - before < (6 - killed_at + 1) * BLOCK + 2000


def test_blocks_that_another_content_left_behind_never_get_into_a_blob(way: Callable[..., Way]) -> None:
    at = way()
    box = f"faults-{secrets.token_hex(6)}"
    for seed in (1, 2):
        at.link.fail(6, "killed")
        with pytest.raises(Crash):
            at.blobs.put(box, "blob", in_chunks(noise(5 * BLOCK, seed), BLOCK))
        at.restart()

    at.blobs.put(box, "blob", [b"small"])
    assert at.blobs.read(box, "blob") == b"small"

    def broken() -> Iterator[bytes]:
        yield noise(3 * BLOCK, 3)
        raise ContentError("cut short")

    with pytest.raises(ContentError, match="cut short"):
        at.blobs.put(box, "blob", broken())
    at.blobs.put(box, "blob", in_chunks(noise(3 * BLOCK, 4), BLOCK))
    assert at.blobs.read(box, "blob") == noise(3 * BLOCK, 4)


@pytest.mark.parametrize("at_request", [4, 5])
@pytest.mark.parametrize("compose_it", [True, False])
def test_a_container_that_goes_while_it_is_written_to_is_no_content_that_is_missing(
    way: Callable[..., Way], compose_it: bool, at_request: int
) -> None:
    """A publisher would take that for a patch that is lost, and have it built anew for everybody."""
    at, other = way(), way()
    box = f"faults-{secrets.token_hex(6)}"
    at.blobs.put("patches", "of-faults", [BIG])
    at.blobs.put(box, "other", [b"x"])
    at.link.before(at_request, lambda: other.blobs.delete_container(box))

    with pytest.raises(DependencyError):
        compose(at.blobs, box) if compose_it else put_if_absent(at.blobs, box)


# Publishing


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = SqlStore(f"sqlite:///{tmp_path / 'imagedelta.db'}")
    store.migrate()
    yield Bench(store, tmp_path / "unused")
    store.close()


def published(bench: Bench, way: Way, transfer: Transfer) -> bool:
    done = bench.current(transfer)
    box = outbox_container(DEVICE)
    assert (done.state, done.number) == ("published", 1)
    assert [info.name for info in way.blobs.list(box)] == sorted([done.bundle or "", f"{done.bundle}.chunks"])
    return True


@pytest.mark.parametrize("how", [*LASTING, *DEATHS])
def test_publishing_whose_every_request_fails_publishes_each_bundle_once(
    way: Callable[..., Way], bench: Bench, how: str
) -> None:
    at, box = way(), outbox_container(DEVICE)
    at.blobs.delete_container(box)
    bench.blobs = at.blobs  # type: ignore[assignment]
    bench.with_deps(blobs=at.blobs)
    transfer = prepared(bench)
    step, nth = {"patchId": transfer.patch_id, "after": ""}, 0
    bundles: set[bytes] = set()
    while bench.current(transfer).state != "published":
        nth += 1
        at.restart()
        bench.with_deps(blobs=at.blobs)
        at.link.fail(nth, how)
        before = at.link.count
        with suppress(DependencyError, Crash):
            publish_batch(bench.deps, step)
        at.link.heal()
        assert at.link.count - before >= nth or bench.current(transfer).state == "published"
        bundles |= {at.blobs.read(box, info.name) for info in at.blobs.list(box) if info.name.endswith(".bundle")}

    assert published(bench, at, transfer)
    assert len(bundles) == 1, "what was visible was never replaced"
