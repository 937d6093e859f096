"""What is given to devices and uploaders opens just what it is for, by both kinds of SAS, asked by their own client."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from imagedelta.errors import DependencyError
from services.blobs.azure import AzureBlobs
from services.blobs.azure_account import Account
from services.blobs.http import BlobContainer
from services.clock import utc_now
from services.http_bounded import bounded_client
from services.ports import BlobInfo, BlobRange, Grant
from tests.blobs.suite import noise
from tests.e2e.cloud.blob_accounts import account_of, blobs_of, trust
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority

pytestmark = pytest.mark.e2e
HOUR = timedelta(hours=1)
KINDS = pytest.mark.parametrize("by_key", [True, False], ids=["policy", "delegation"], indirect=True)


@pytest.fixture
def by_key(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def account(
    azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_key: bool
) -> Account:
    trust(monkeypatch, authority, tmp_path)
    return account_of(azurite, by_key=by_key)


@pytest.fixture
def blobs(account: Account) -> AzureBlobs:
    return AzureBlobs(account)


@pytest.fixture
def device(account: Account) -> Iterator[httpx.Client]:
    """The client of a device; it trusts whom the environment names, so it is made after ``trust``."""
    with bounded_client() as client:
        yield client


@pytest.fixture
def box(request: pytest.FixtureRequest) -> str:
    return f"outbox-grants-{abs(hash(request.node.nodeid)):x}"


def statuses(client: httpx.Client, *urls: str, grant: Grant) -> list[int]:
    return [client.get(f"{url}{'&' if '?' in url else '?'}{grant.query}").status_code for url in urls]


@KINDS
def test_a_device_lists_and_reads_its_outbox_and_nothing_else(
    blobs: AzureBlobs, device: httpx.Client, box: str
) -> None:
    blobs.put("outbox-other", "secret", [b"x"])
    grant = blobs.read_grant(box, HOUR)
    bundle = blobs.put(box, "1-b.bundle", [b"bundle"])
    own = BlobContainer(device, blobs.container_url(box), grant.query)

    assert own.list() == [bundle]
    assert b"".join(own.stream(bundle, 1, 6)) == b"undle"
    with pytest.raises(DependencyError) as refused:
        BlobContainer(device, blobs.container_url("outbox-other"), grant.query).list()
    assert refused.value.code == "outbox.denied"
    url = f"{blobs.container_url(box)}/1-b.bundle?{grant.query}"
    assert device.put(url, content=b"y", headers={"x-ms-blob-type": "BlockBlob"}).status_code == 403
    assert device.delete(url).status_code == 403
    assert blobs.read(box, "1-b.bundle") == b"bundle"


@KINDS
def test_a_grant_of_one_patch_opens_that_patch_for_reading_alone(
    blobs: AzureBlobs, device: httpx.Client, box: str
) -> None:
    blobs.put(box, "a", [b"patch"])
    blobs.put(box, "b", [b"other"])
    grant, url = blobs.blob_grant(box, "a", HOUR), blobs.container_url(box)

    assert statuses(device, f"{url}/a", f"{url}/b", f"{url}?restype=container&comp=list", grant=grant) == [
        200,
        403,
        403,
    ]
    written = device.put(f"{url}/a?{grant.query}", content=b"y", headers={"x-ms-blob-type": "BlockBlob"})
    assert written.status_code == 403


@KINDS
def test_an_uploader_writes_its_blob_whole_or_in_blocks_and_sees_how_far_it_is(
    blobs: AzureBlobs, device: httpx.Client, box: str
) -> None:
    whole, parts = blobs.write_url(box, "whole", HOUR), blobs.write_url(box, "parts", HOUR)
    ids = [base64.b64encode(b"%06d" % number).decode() for number in range(2)]

    assert device.put(whole, content=b"abc", headers={"x-ms-blob-type": "BlockBlob"}).status_code == 201
    for block_id, data in zip(ids, (b"first,", b"second"), strict=True):
        staged = device.put(parts, params={**_query(parts), "comp": "block", "blockid": block_id}, content=data)
        assert staged.status_code == 201
    listed = device.get(parts, params={**_query(parts), "comp": "blocklist", "blocklisttype": "uncommitted"})
    assert all(block_id in listed.text for block_id in ids)
    document = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
    made = device.put(
        parts, params={**_query(parts), "comp": "blocklist"}, content=f"<BlockList>{document}</BlockList>"
    )

    assert made.status_code == 201
    assert (blobs.read(box, "whole"), blobs.read(box, "parts")) == (b"abc", b"first,second")
    elsewhere = device.put(whole.replace("/whole?", "/other?"), content=b"x", headers={"x-ms-blob-type": "BlockBlob"})
    assert elsewhere.status_code == 403


def _query(url: str) -> dict[str, str]:
    return dict(httpx.QueryParams(url.partition("?")[2]))


@KINDS
def test_a_grant_has_ended_when_it_says_so(azurite: Azurite, device: httpx.Client, box: str, by_key: bool) -> None:
    def days_ago() -> datetime:
        return utc_now() - timedelta(days=6, hours=23, minutes=50)

    old = blobs_of(azurite, by_key=by_key, now=days_ago)
    old.put(box, "a", [b"x"])
    ended, alive = old.read_grant(box, timedelta(days=6)), old.read_grant(box, timedelta(days=8))
    url = f"{old.container_url(box)}/a"

    assert ended.expires_at < utc_now()
    assert parse_qs(ended.query)["se"] == [ended.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")]
    if by_key:  # Azurite 3.37 takes the end of the policy, which has none, in the place of the grant's own; Azure
        # combines both ("Define a stored access policy")
        assert alive.expires_at > utc_now()
        assert statuses(device, url, grant=alive) == [200]
    else:  # 7 days less the 15 minutes by which clocks may differ, whatever was asked for
        assert alive.expires_at < utc_now()
        assert statuses(device, url, grant=ended) == [403]


@KINDS
def test_what_was_signed_by_a_clock_that_runs_ahead_opens_at_once(
    azurite: Azurite, device: httpx.Client, box: str, by_key: bool
) -> None:
    ahead = blobs_of(azurite, by_key=by_key, now=lambda: utc_now() + timedelta(minutes=14))
    ahead.put(box, "a", [b"x"])

    for grant in (ahead.read_grant(box, HOUR), ahead.blob_grant(box, "a", HOUR)):
        assert statuses(device, f"{ahead.container_url(box)}/a", grant=grant) == [200]


@KINDS
def test_what_a_retired_device_has_opens_nothing_from_that_moment_on(
    blobs: AzureBlobs, account: Account, device: httpx.Client, box: str, by_key: bool
) -> None:
    grant = blobs.read_grant(box, HOUR)
    blobs.put(box, "a", [b"x"])
    url = blobs.container_url(box)

    blobs.delete_container(box)

    assert set(statuses(device, f"{url}/a", f"{url}?restype=container&comp=list", grant=grant)) <= {403, 404}
    if by_key:  # also when the container is made anew: its policy has another name
        blobs.put(box, "a", [b"new"])
        blobs.read_grant(box, HOUR)
        assert statuses(device, f"{url}/a", grant=grant) == [403]


@pytest.mark.parametrize("by_key", [True], ids=["policy"], indirect=True)
def test_a_grant_on_a_policy_ends_with_the_policy_and_others_stay(
    blobs: AzureBlobs, account: Account, device: httpx.Client, box: str, by_key: bool
) -> None:
    first, second = blobs.read_grant(box, HOUR), blobs.read_grant(box, 2 * HOUR)
    blobs.put(box, "a", [b"x"])
    url = f"{blobs.container_url(box)}/a"
    assert [statuses(device, url, grant=grant) for grant in (first, second)] == [[200], [200]]
    assert len({parse_qs(grant.query)["si"][0] for grant in (first, second)}) == 1, "a renewal keeps the policy"

    account.set_policy(box, "device-another", "rl")

    assert [statuses(device, url, grant=grant) for grant in (first, second)] == [[403], [403]]
    fresh = blobs.read_grant(box, HOUR)
    assert parse_qs(fresh.query)["si"] == ["device-another"]
    assert statuses(device, url, grant=fresh) == [200]


@pytest.mark.parametrize("by_key", [False], ids=["delegation"], indirect=True)
def test_without_a_shared_key_no_key_of_the_account_signs_anything(
    blobs: AzureBlobs, account: Account, box: str, by_key: bool
) -> None:
    grants = [blobs.read_grant(box, HOUR), blobs.blob_grant(box, "a", HOUR)]

    assert account.key is None
    for grant in grants:
        fields = parse_qs(grant.query)
        assert fields.keys() >= {"skoid", "sktid", "skt", "ske", "sks", "skv", "sig"}
        assert "si" not in fields
        assert fields["spr"] == ["https"]


def test_a_blob_that_was_listed_is_that_of_its_etag(
    azurite: Azurite, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cloud calls a blob, and what a device lists, is the same."""
    trust(monkeypatch, authority, tmp_path)
    blobs = blobs_of(azurite, by_key=False)
    put: BlobInfo = blobs.put("outbox-etags", "a", [b"abc"])
    with bounded_client() as client:
        grant = blobs.read_grant("outbox-etags", HOUR)
        assert BlobContainer(client, blobs.container_url("outbox-etags"), grant.query).list() == [put]


@KINDS
def test_whoever_watches_an_outbox_sees_whole_bundles_alone_and_their_chunk_lists_first(
    blobs: AzureBlobs, device: httpx.Client, box: str
) -> None:
    """As a transfer tool does that takes what it sees: names are seen once, and what they mean never changes."""
    patch = noise(300_000)
    blobs.put("patches", box, [patch])
    own = BlobContainer(device, blobs.container_url(box), blobs.read_grant(box, HOUR).query)
    names = [f"2-{number:012d}-transfer-1.bundle" for number in range(6)]

    def publish(name: str) -> None:
        blobs.put_if_absent(box, f"{name}.chunks", [b"chunks of " + name.encode()])
        blobs.compose_if_absent(box, name, [b"<", BlobRange("patches", box, 0, len(patch)), b">"])

    seen: dict[str, BlobInfo] = {}
    with ThreadPoolExecutor(3) as pool:
        work = [pool.submit(publish, name) for name in names for _ in range(2)]
        while not all(each.done() for each in work) or len(seen) < 2 * len(names):
            for blob in own.list():
                if blob.name.endswith(".bundle"):
                    assert f"{blob.name}.chunks" in seen or blob.name in seen or blobs.info(box, f"{blob.name}.chunks")
                if blob.name not in seen:
                    whole = b"".join(own.stream(blob, 0, blob.size))
                    assert whole in (b"<" + patch + b">", b"chunks of " + blob.name.removesuffix(".chunks").encode())
                assert seen.setdefault(blob.name, blob) == blob
        for each in work:
            each.result()

    assert sorted(seen) == sorted([*names, *(f"{name}.chunks" for name in names)])
