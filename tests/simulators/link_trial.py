"""A device that only fetches, on a real disk and over a real link: how many bytes does a bundle cost when it is cut?"""

from __future__ import annotations

import hashlib
import io
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.messages import DesiredProperties, LinkRules, OutboxAccess
from edge_module.admission import Rules
from edge_module.allowance import Allowance
from edge_module.backoff import Backoff
from edge_module.bundle_source import Shore
from edge_module.damage import DamageLog
from edge_module.downloader import Downloader
from edge_module.engines.layout import LayoutEngine
from edge_module.fetching import INBOX, Fetching
from edge_module.files import DiskFiles
from edge_module.intake import Intake
from edge_module.journal import Journal
from edge_module.outbox import Outbox
from edge_module.refused import RefusedFiles
from edge_module.reporting import Reporter
from edge_module.troubles import Troubles
from imagedelta.bundles import BundleHead, Ed25519Sealer, chunk_list, compose
from imagedelta.errors import DependencyError
from services.blobs.http import BlobContainer
from services.http_bounded import bounded_client
from tests.simulators.blob_server import BlobServer
from tests.simulators.tcp_proxy import TcpProxy

NAME = "2-000000000001-transfer-1-1.bundle"
_SEALER = Ed25519Sealer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_DEVICE = "ship-1"


@dataclass(frozen=True)
class LinkFigure:
    bundle_bytes: int
    cut_after: int | None
    """Bytes that a connection carries before it breaks."""
    body_bytes: int
    """Of HTTP bodies that arrived: opening, chunk list, patch."""
    link_bytes: int
    """Everything that came down: bodies, headers, lists."""
    cuts: int
    seconds: float

    @property
    def body_ratio(self) -> float:
        return self.body_bytes / self.bundle_bytes

    @property
    def link_ratio(self) -> float:
        return self.link_bytes / self.bundle_bytes


class _Counting(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, figures: list[int]) -> None:
        self._inner = inner
        self._figures = figures

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            self._figures.append(len(piece))
            yield piece

    def close(self) -> None:
        self._inner.close()


def fetch_over(link: TcpProxy, server: BlobServer, patch_bytes: int, folder: Path, seconds: float) -> LinkFigure:
    """Fetch a bundle of noise from the server; fails when it takes longer than ``seconds``."""
    bundle, chunks = a_bundle(patch_bytes)
    server.blobs = {NAME: bundle, f"{NAME}.chunks": chunks}
    access = OutboxAccess(url=f"http://{link.address}/outbox", query="", renewAfter="2030-01-01T00:00:00Z")
    return fetch(access, bundle, link, folder, seconds)


def fetch(access: OutboxAccess, bundle: bytes, link: TcpProxy, folder: Path, seconds: float) -> LinkFigure:
    """Fetch the bundle from wherever the access leads, through the link."""
    bodies: list[int] = []
    with bounded_client() as client:
        client.event_hooks["response"].append(lambda response: _count(response, bodies))
        downloader = _downloader(folder)
        shore = Shore(lambda url, query: BlobContainer(client, url, query), access, None)
        started, desired = time.monotonic(), DesiredProperties(outbox=access)
        _list(downloader, shore)
        bodies.clear()
        while downloader.waiting:
            assert time.monotonic() - started < seconds, f"{sum(bodies)} of {len(bundle)} bytes in {seconds} s"
            time.sleep(downloader.step(shore, desired))
    taken = time.monotonic() - started
    assert (folder / INBOX / NAME).read_bytes() == bundle
    return LinkFigure(len(bundle), link.cut_after, sum(bodies), link.carried_down, link.cuts, taken)


def _list(downloader: Downloader, shore: Shore) -> None:
    """Until the link has let a list through."""
    for _ in range(20):
        with suppress(DependencyError):
            downloader.refresh(shore)
            return
    raise AssertionError("20 lists were cut")


def _count(response: httpx.Response, bodies: list[int]) -> None:
    assert isinstance(response.stream, httpx.SyncByteStream)
    response.stream = _Counting(response.stream, bodies)


def a_bundle(patch_bytes: int) -> tuple[bytes, bytes]:
    """A bundle whose patch is noise, and its chunk list."""
    patch = random.Random(1).randbytes(patch_bytes)
    chunks = chunk_list(io.BytesIO(patch))
    head = BundleHead(
        bundle_id="bundle-1",
        device_id=_DEVICE,
        transfer_id="transfer-1",
        attempt=1,
        number=1,
        target_image_id="sha256:" + "1" * 64,
        platform="linux/amd64",
        patch_sha256=hashlib.sha256(patch).hexdigest(),
        patch_bytes=len(patch),
        chunks_sha256=hashlib.sha256(chunks).hexdigest(),
    )
    before, after = compose(head, _SEALER, zlib.crc32(patch), len(patch))
    return before + patch + after, chunks


def _downloader(folder: Path) -> Downloader:
    files = DiskFiles(folder)
    files.make_folders(INBOX)
    damage = DamageLog(files)
    journal = Journal(files, damage)
    reporter = Reporter(journal, Outbox(files, Backoff(), time.monotonic, damage))
    rules = Rules(_DEVICE, ("linux/amd64",), 128 * 1024 * 1024)
    trusted = {_SEALER.key_id: _SEALER.public_key}
    intake = Intake(journal, reporter, LayoutEngine(files), rules, trusted, lambda: None)
    fetching = Fetching(files, intake, reporter, Allowance(LinkRules(), time.monotonic, time.time), time.monotonic)
    return Downloader(files, journal, intake, RefusedFiles(files), fetching, Troubles(time.time), 0)
