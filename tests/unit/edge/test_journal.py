"""What the device remembers."""

from __future__ import annotations

import errno
import json
import math
import threading
from dataclasses import replace

import pytest

from edge_module import journal as module
from edge_module.damage import DamageLog
from edge_module.journal import Job, Journal
from imagedelta.errors import ContentError, DependencyError
from tests.simulators.files import FileSystemSimulator


def a_job(number: int = 1, **changes: object) -> Job:
    job = Job(f"transfer-{number}", 1, "sha256:" + "1" * 64, f"bundle-{number}", number, "receiving")
    return replace(job, **changes)  # type: ignore[arg-type]


def a_journal(disk: FileSystemSimulator) -> Journal:
    return Journal(disk, DamageLog(disk), now=lambda: 0.0)


def test_jobs_and_counters_are_as_written_after_the_power_went() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)
    journal.write(a_job(2))
    journal.write(a_job(1, state="failed", code="seal.invalid"))
    journal.see_number(7, 3)
    journal.claim_reference("app:1", 7, "image-a")
    disk.reboot("dropped")

    again = a_journal(disk)

    assert again.jobs() == journal.jobs() == [a_job(1, state="failed", code="seal.invalid"), a_job(2)]
    assert again.counters == journal.counters


def test_highest_number_and_floor_only_rise() -> None:
    journal = a_journal(FileSystemSimulator())

    for number, floor in ((5, 2), (3, 4), (9, 1)):
        journal.see_number(number, floor)

    assert (journal.counters.highest_number, journal.counters.floor) == (9, 4)


@pytest.mark.parametrize(
    ("number", "image", "may"), [(8, "b", True), (7, "a", True), (7, "b", False), (6, "b", False), (6, "a", True)]
)
def test_a_name_moves_to_another_image_only_by_a_higher_number(number: int, image: str, may: bool) -> None:
    journal = a_journal(FileSystemSimulator())
    journal.claim_reference("app:1", 7, "a")

    assert journal.claim_reference("app:1", number, image) is may


def test_a_transfer_id_that_is_no_plain_name_never_becomes_a_file() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)

    for name in ("../../etc/passwd", "a/b", "", ".hidden", "x" * 200):
        with pytest.raises(ContentError):
            journal.write(a_job(transfer_id=name))

    assert disk.list("journal") == []


def test_old_finished_jobs_are_forgotten_one_by_one_but_stay_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 3)
    disk = FileSystemSimulator()
    journal = a_journal(disk)
    for number in range(1, 8):
        journal.write(a_job(number, state="succeeded", announced=True))
    journal.write(a_job(9))

    journal.forget_oldest()

    assert [job.number for job in a_journal(disk).jobs()] == [5, 6, 7, 9]
    assert a_journal(disk).counters.floor == 5


def test_unsealed_jobs_are_forgotten_first_and_never_raise_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 2)
    journal = a_journal(FileSystemSimulator())
    for number in (1, 2):
        journal.write(a_job(number, state="succeeded", announced=True))
    for number in (100, 101, 102):
        journal.write(a_job(number, state="failed", announced=True, sealed=False))

    journal.forget_oldest()

    assert [job.number for job in journal.jobs()] == [1, 2]
    assert journal.counters.floor == 0


def test_a_damaged_file_does_not_stop_the_device() -> None:
    disk = FileSystemSimulator()
    a_journal(disk).write(a_job(1, state="succeeded"))
    disk.put("journal/transfer-2-1.json", b"\0\0\0")
    disk.put("journal/device.json", b"")

    journal = a_journal(disk)

    assert [job.number for job in journal.jobs()] == [1]
    assert journal.counters.highest_number == 1


def test_a_job_that_no_report_may_tell_is_never_written() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)

    for wrong in (
        {"attempt": 2_000_000},
        {"attempt": True},
        {"number": 2**63},
        {"image_id": "sha256:short"},
        {"state": "odd"},
        {"detail": "x" * 3000},
        {"detail": "\udcff"},
        {"seconds_on_link": float("nan")},
    ):
        with pytest.raises(ContentError):
            journal.write(a_job(**wrong))

    assert (disk.list("journal"), journal.jobs()) == ([], [])


COUNTER_FILES = ("journal/device.json", "journal/device.copy")


def a_journal_with_counters(disk: FileSystemSimulator, now: float = 0.0) -> Journal:
    journal = Journal(disk, DamageLog(disk), now=lambda: now)
    journal.write(a_job(6, state="succeeded", announced=True))
    journal.see_number(7, 5)
    journal.claim_reference("app:1", 7, "image-a")
    journal.next_inventory()
    return journal


@pytest.mark.parametrize("file", COUNTER_FILES)
@pytest.mark.parametrize("data", [None, b"", b"{}", b"{", b'{"floor": 1}', b'{"floor": "x"}'])
def test_one_damaged_file_of_the_counters_costs_nothing(file: str, data: bytes | None) -> None:
    disk = FileSystemSimulator()
    before = a_journal_with_counters(disk).counters
    disk.remove(file)
    if data is not None:
        disk.put(file, data)

    damage = DamageLog(disk)
    after = Journal(disk, damage, now=lambda: 0.0).counters

    assert after == before
    assert [each["file"] for each in damage.told()] == ([file] if data in (b"", b"{", b'{"floor": "x"}') else [])
    for each in COUNTER_FILES:
        disk.remove(each)
        disk.put(each, b"")
        assert a_journal(disk).counters == before, "the copy was not brought up to date"


def test_when_both_are_lost_the_jobs_prove_what_they_can_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 2)
    disk = FileSystemSimulator()
    journal = a_journal_with_counters(disk)
    journal.write(a_job(9, state="succeeded", announced=True))
    for file in COUNTER_FILES:
        disk.put(file, b"")

    damage = DamageLog(disk)
    counters = Journal(disk, damage, now=lambda: 0.0).counters

    assert (counters.highest_number, counters.floor, counters.references) == (9, 6, {})
    assert [each["file"] for each in damage.told()] == [*COUNTER_FILES, COUNTER_FILES[0]]
    assert "the floor is 6" in damage.told()[-1]["result"]
    assert a_journal(disk).counters == counters
    assert DamageLog(disk).told() == damage.told(), "told again, not found again"


def test_inventories_never_repeat_a_sequence_and_write_seldom() -> None:
    disk = FileSystemSimulator()
    sequences, before = [], disk.operations
    for _ in range(3):
        journal = a_journal(disk)
        sequences += [journal.next_inventory() for _ in range(10)]
        disk.reboot("dropped")

    assert sequences == sorted(set(sequences))
    assert disk.operations - before < 45


def test_after_the_loss_of_all_counters_inventories_are_newer_than_any_before() -> None:
    disk = FileSystemSimulator()
    journal = a_journal_with_counters(disk, now=1_800_000_000)
    last = [journal.next_inventory() for _ in range(100)][-1]
    for file in COUNTER_FILES:
        disk.remove(file)

    assert a_journal_with_counters(disk, now=1_800_086_400).next_inventory() > last


def test_a_disk_that_takes_no_writes_mutes_no_inventory() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)
    disk.fail_at(1, errno.ENOSPC, math.inf)

    assert [journal.next_inventory() for _ in range(50)] == list(range(1, 51))
    disk.heal()
    assert journal.next_inventory() == 51
    assert a_journal(disk).next_inventory() > 51


def test_reports_of_an_attempt_whose_file_was_lost_are_newer_than_any_before() -> None:
    disk = FileSystemSimulator()
    a_journal(disk).write(a_job(1, sequence=30))
    disk.put("journal/transfer-1-1.json", b"")

    assert a_journal(disk).next_sequence(a_job(1)) == 1001
    assert a_journal(disk).next_sequence(a_job(1)) == 1001
    assert a_journal(disk).next_sequence(a_job(2)) == 1


def test_a_journal_that_cannot_be_read_yet_takes_nothing_for_missing() -> None:
    disk = FileSystemSimulator()
    before = a_journal_with_counters(disk)
    disk.fail_at(1, errno.EIO, math.inf)
    disk.fail_reading_at(1, errno.EIO, math.inf)

    journal = a_journal(disk)
    for ask in (journal.jobs, lambda: journal.counters, lambda: journal.write(a_job(9)), journal.next_inventory):
        with pytest.raises(DependencyError):
            ask()

    disk.heal()
    assert (journal.jobs(), journal.counters) == (before.jobs(), before.counters)


def test_who_reads_does_not_wait_for_a_disk_that_hangs() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)
    journal.write(a_job(1))
    hanging, go_on = threading.Event(), threading.Event()
    rename = disk.rename

    def hang(old: str, new: str) -> None:
        hanging.set()
        assert go_on.wait(10)
        rename(old, new)

    disk.rename = hang  # type: ignore[method-assign]
    writer = threading.Thread(target=lambda: journal.write(a_job(2)))
    writer.start()
    assert hanging.wait(10)

    assert (journal.jobs(), journal.counters.floor) == ([a_job(1)], 0)
    go_on.set()
    writer.join()
    assert journal.jobs() == [a_job(1), a_job(2)]


def test_three_threads_lose_nothing() -> None:
    disk = FileSystemSimulator()
    journal = a_journal(disk)

    def work(first: int) -> None:
        for number in range(first, first + 50):
            journal.write(a_job(number, state="succeeded", announced=True))
            journal.see_number(number, number - 10 if number > 10 else 0)
            journal.claim_reference(f"app:{number}", number, "image")
            journal.next_inventory()
            assert journal.find(f"transfer-{number}", 1) in journal.jobs()

    threads = [threading.Thread(target=work, args=(first,)) for first in (1, 101, 201)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    again = a_journal(disk)
    assert (len(again.jobs()), len(again.counters.references)) == (150, 150)
    assert (again.counters.highest_number, again.counters.floor) == (250, 240)
    assert again.counters == journal.counters
    assert journal.next_inventory() == 151


def test_open_attempts_of_withdrawn_bundles_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 3)
    journal = a_journal(FileSystemSimulator())
    for number in range(1, 9):
        journal.write(a_job(number))

    journal.forget_oldest()

    assert [job.number for job in journal.jobs()] == [6, 7, 8]


def test_files_of_an_older_and_of_a_newer_version_are_read() -> None:
    """As the first version wrote them, and with fields of a later one."""
    disk = FileSystemSimulator()
    job = {"transfer_id": "transfer-1", "attempt": 1, "image_id": "sha256:" + "1" * 64, "bundle_id": "bundle-1"}
    old = {**job, "number": 1, "state": "receiving"}
    unset = dict.fromkeys(("code", "detail", "missing_source", "local_digest", "bytes_fetched", "seconds_on_link"))
    disk.put("journal/transfer-1-1.json", json.dumps({**old, **unset, "sequence": 2, "sealed": True}).encode())
    newer = {**old, "bundle_id": "bundle-2", "transfer_id": "transfer-2", "number": 2, "mood": {"fine": [True]}}
    disk.put("journal/transfer-2-1.json", json.dumps(newer).encode())
    counters = {"highest_number": 7, "floor": 5, "references": {"app:1": [7, "image-a"]}, "resync": 3}
    disk.put("journal/device.json", json.dumps({**counters, "version": 2, "tide": 4}).encode())

    damage = DamageLog(disk)
    journal = Journal(disk, damage)

    assert journal.jobs() == [a_job(1, sequence=2), a_job(2)]
    assert (journal.counters.floor, journal.counters.references) == (5, {"app:1": (7, "image-a")})
    assert damage.told() == []
