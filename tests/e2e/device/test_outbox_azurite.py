"""The downloader against Azurite, with a SAS as the cloud gives it, over a link that breaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from contracts.messages import OutboxAccess
from imagedelta.errors import DependencyError
from services.blobs.http import BlobContainer
from services.http_bounded import bounded_client
from services.ports import BlobInfo
from tests.e2e.parts.azurite import Azurite, Outbox
from tests.simulators.link_trial import NAME, a_bundle, fetch
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e
PATCH_BYTES = 2_500_000


def filled(azurite: Azurite, device: str) -> tuple[Outbox, bytes]:
    outbox, (bundle, chunks) = azurite.outbox(device), a_bundle(PATCH_BYTES)
    outbox.put(f"{NAME}.chunks", chunks)
    outbox.put(NAME, bundle)
    return outbox, bundle


@pytest.mark.parametrize("every", [100_000, 1_000_000])
def test_a_bundle_costs_hardly_more_than_its_bytes_over_a_link_that_is_cut(
    azurite: Azurite, tmp_path: Path, every: int
) -> None:
    outbox, bundle = filled(azurite, f"cut-{every}")
    with TcpProxy(("127.0.0.1", azurite.port)) as link:
        link.cut_after = every

        figure = fetch(OutboxAccess.model_validate(outbox.grant(link.address)), bundle, link, tmp_path, seconds=120)

    assert figure.cuts >= PATCH_BYTES // every - 1
    assert figure.body_ratio <= 1.02
    assert figure.link_ratio <= 1.03, "with the headers of Azurite"


def test_a_blob_that_changed_and_an_access_that_was_revoked_are_told_apart(azurite: Azurite) -> None:
    outbox, bundle = filled(azurite, "odd")
    grant = outbox.grant()
    with bounded_client() as client:
        store = BlobContainer(client, grant["url"], grant["query"])
        listed = {blob.name: blob for blob in store.list()}
        assert {name: blob.size for name, blob in listed.items()} == {NAME: len(bundle), f"{NAME}.chunks": 96}
        assert b"".join(store.stream(listed[NAME], 100, 200)) == bundle[100:200]

        azurite.service.get_blob_client("outbox-odd", NAME).set_blob_metadata({"touched": "yes"})
        assert code_of(store, listed[NAME]) == "blob.changed"
        assert code_of(store, replace(listed[NAME], name="other", etag="")) == "blob.missing"
        outbox.grant()
        assert code_of(store, listed[NAME]) == "outbox.denied"


def code_of(store: BlobContainer, blob: BlobInfo) -> str:
    with pytest.raises(DependencyError) as caught:
        list(store.stream(blob, 0, 10))
    return caught.value.code


def test_a_container_that_was_deleted_lists_nothing(azurite: Azurite) -> None:
    outbox, _ = filled(azurite, "gone")
    grant = outbox.grant()
    azurite.service.delete_container("outbox-gone")

    with httpx.Client() as client:
        container = BlobContainer(client, grant["url"], grant["query"])
        try:
            assert container.list() == []
        except DependencyError as error:
            assert error.code == "outbox.denied", "its policy is gone with it"
