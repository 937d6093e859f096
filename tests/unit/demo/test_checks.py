from __future__ import annotations

from dataclasses import replace

import pytest

from demo.checks import check_run
from demo.record import RunRecord
from tests.unit.demo.records import EXPECTED, a_record, a_release, a_transfer


def failed(record: RunRecord) -> list[str]:
    return [check.claim for check in check_run(record, EXPECTED) if not check.held]


def test_a_run_as_it_should_be_passes_every_check() -> None:
    assert failed(a_record()) == []


def test_a_set_that_is_not_complete_fails() -> None:
    assert failed(replace(a_record(), state="completed_with_failures")) == ["The set is complete"]


def test_a_second_transfer_row_for_the_same_image_and_device_fails() -> None:
    record = a_record()
    assert failed(replace(record, transfers=(*record.transfers, record.transfers[0]))) == [
        "Exactly 4 transfers, one row each"
    ]


def test_an_image_that_the_device_does_not_really_hold_fails() -> None:
    record = a_record()
    lost = replace(record.transfers[0], verified=False)
    assert failed(replace(record, transfers=(lost, *record.transfers[1:]))) == [
        "Every image in a device's store has its image ID and layer digests"
    ]


def test_a_patch_with_two_blobs_fails() -> None:
    record = a_record()
    assert failed(replace(record, patches={**record.patches, "patch-1": 2})) == ["One patch blob per patch"]


@pytest.mark.parametrize(
    ("source", "bundle_bytes", "bound"), [("app:1", 6_100_000, "5%"), ("recon:1", 48_600_000, "40%")]
)
def test_a_bundle_over_its_share_of_full_fails(source: str, bundle_bytes: int, bound: str) -> None:
    record = a_record()
    large = replace(a_transfer("boreas", "app:2", source, bundle_bytes, "patch-3"), pull_bytes=100_000_000)
    transfers = tuple(large if fact.patch_id == "patch-3" else fact for fact in record.transfers)
    assert failed(replace(record, transfers=transfers)) == [f"app:2 to boreas is at most {bound} of full"]


def test_a_bundle_that_is_no_smaller_than_a_pull_fails() -> None:
    record = a_record()
    pulled = replace(record.transfers[2], pull_bytes=record.transfers[2].bundle_bytes)
    transfers = (*record.transfers[:2], pulled, record.transfers[3])
    assert failed(replace(record, transfers=transfers)) == [
        "Every bundle is smaller than what docker pull would have moved"
    ]


def test_bytes_for_the_device_that_had_everything_fail() -> None:
    record = a_record()
    devices = (*record.devices[:2], replace(record.devices[2], bundle_bytes=1))
    assert failed(replace(record, devices=devices)) == ["calypso had everything and got no bytes"]


def test_a_mail_too_many_or_too_few_fails() -> None:
    record, claim = a_record(), "The owner is told once that all has arrived and once that it runs"
    assert failed(replace(record, mails=record.mails * 2)) == [claim]
    assert failed(replace(record, mails=record.mails[:1])) == [claim]
    assert failed(replace(record, mails=(record.mails[0],) * 2)) == [claim]
    assert failed(replace(record, mails=())) == [claim]


def test_a_manifest_in_the_wrong_hub_fails() -> None:
    record = a_record()
    releases = (a_release("aurora", "south"), *record.releases[1:])
    assert failed(replace(record, releases=releases)) == ["The manifest is set on every device, in its own hub"]


def test_a_manifest_set_twice_fails() -> None:
    record = a_record()
    releases = (replace(record.releases[0], times_set=2), *record.releases[1:])
    assert failed(replace(record, releases=releases)) == ["It was set exactly once on each"]


def test_a_kill_that_never_fell_fails() -> None:
    assert failed(replace(a_record(), kills={"host": 1, "device": 0})) == [
        "A device was killed once while it applied a patch"
    ]
