"""The way to the storage: connections are kept and shared, a cut costs a request, silence ends, so does a kill."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagedelta.errors import ContentError, DependencyError
from services.blobs import azure_account
from services.blobs.azure import AzureBlobs
from tests.blobs.suite import in_chunks, noise
from tests.e2e.cloud.blob_accounts import BLOCK, account_of, blobs_of, small_blocks, trust
from tests.e2e.host_process import wait_for
from tests.e2e.parts.azurite import ACCOUNT, Azurite
from tests.e2e.parts.certificates import Authority
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e
DATA = noise(1 << 20)
THREADS = 8
ROOT = Path(__file__).parents[3]


@pytest.fixture
def link(azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    trust(monkeypatch, authority, tmp_path)
    blobs_of(azurite, by_key=False).put("layers", "of-links", [DATA])
    with TcpProxy(("127.0.0.1", azurite.port)) as link:
        yield link


@pytest.fixture
def blobs(azurite: Azurite, link: TcpProxy) -> AzureBlobs:
    return AzureBlobs(account_of(azurite, by_key=False, url=f"https://{link.address}/{ACCOUNT}"))


def read_all(blobs: AzureBlobs, threads: int) -> None:
    size = 16 * 1024
    with ThreadPoolExecutor(threads) as pool:
        pieces = pool.map(lambda at: blobs.read_at("layers", "of-links", at, size), range(0, len(DATA), size))
        assert b"".join(pieces) == DATA


def test_threads_share_connections_that_are_kept(blobs: AzureBlobs, link: TcpProxy) -> None:
    for _ in range(3):
        read_all(blobs, THREADS)

    assert link.connections <= THREADS


def test_reads_over_a_way_that_is_cut_again_and_again_are_whole(blobs: AzureBlobs, link: TcpProxy) -> None:
    link.cut_after = 60_000

    read_all(blobs, 4)

    assert link.cuts >= 10


def test_a_storage_that_is_gone_is_told_in_time_and_found_again(
    blobs: AzureBlobs, link: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_account, "TRY_AGAIN_SECONDS", 1.0)
    began = time.monotonic()
    link.refusing = True
    with pytest.raises(DependencyError):
        blobs.read("layers", "of-links")
    assert time.monotonic() - began < 10
    link.refusing = False
    read_all(blobs, 2)


def test_an_account_that_nobody_holds_any_more_has_no_connections(azurite: Azurite, link: TcpProxy) -> None:
    blobs = AzureBlobs(account_of(azurite, by_key=False, url=f"https://{link.address}/{ACCOUNT}"))
    read_all(blobs, 4)
    with pytest.raises(ContentError):
        blobs.read("layers", "of-nobody")
    with pytest.raises(ContentError):
        blobs.read_at("layers", "of-links", 1 << 30, 1)
    assert link.open_connections() > 0

    del blobs

    def none_is_open() -> bool:
        gc.collect()  # does nothing while another thread collects
        return link.open_connections() == 0

    wait_for(none_is_open)


def test_an_upload_that_is_killed_shows_nothing_and_the_next_one_sends_the_rest(
    azurite: Azurite, authority: Authority, tmp_path: Path, link: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    box, data, url = f"killed-{secrets.token_hex(6)}", noise(8 * BLOCK, 5), f"https://{link.address}/{ACCOUNT}"
    stored = blobs_of(azurite, by_key=True)
    stored.put(box, "other", [b"x"])
    source, told = tmp_path / "data", tmp_path / "told"
    source.write_bytes(data)
    program = f"""
        import time
        from pathlib import Path
        from services.blobs import azure_upload
        from services.blobs.azure import AzureBlobs
        from services.blobs.azure_account import Account
        from services.blobs.azure_settings import read_storage
        from services.setting_values import Values
        azure_upload.BLOCK_BYTES = {BLOCK}
        text = "AccountName={ACCOUNT};AccountKey={account_of(azurite, by_key=True).key};BlobEndpoint={url}"
        data = Path({str(source)!r}).read_bytes()
        def chunks():
            for at in range(0, len(data), {BLOCK}):
                if at == {6 * BLOCK}:
                    Path({str(told)!r}).touch()
                    time.sleep(60)
                yield data[at : at + {BLOCK}]
        account = Account(read_storage(Values({{"IMAGEDELTA_STORAGE": text}})))
        AzureBlobs(account).put_if_absent({box!r}, "blob", chunks())
    """
    uploader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, env=dict(os.environ))
    try:
        while not told.exists():
            assert uploader.poll() is None
            time.sleep(0.05)
    finally:
        uploader.send_signal(signal.SIGKILL)
        uploader.wait()
    assert [info.name for info in stored.list(box)] == ["other"]
    assert stored.info(box, "blob") is None

    before = link.carried_up
    again = AzureBlobs(account_of(azurite, by_key=True, url=url))
    again.put_if_absent(box, "blob", in_chunks(data, BLOCK))

    assert stored.read(box, "blob") == data
    assert link.carried_up - before < 4 * BLOCK, "six of eight blocks were there"
