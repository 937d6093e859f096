"""What the device remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_module import journal as module
from edge_module.journal import Job, Journal
from imagedelta.errors import ContentError
from tests.simulators.files import FileSystemSimulator


def a_job(number: int = 1, **changes: object) -> Job:
    job = Job(f"transfer-{number}", 1, "sha256:" + "1" * 64, f"bundle-{number}", number, "receiving")
    return replace(job, **changes)  # type: ignore[arg-type]


def test_jobs_and_counters_are_as_written_after_the_power_went() -> None:
    disk = FileSystemSimulator()
    journal = Journal(disk)
    journal.write(a_job(2))
    journal.write(a_job(1, state="failed", code="seal.invalid"))
    journal.see_number(7, 3)
    journal.claim_reference("app:1", 7, "image-a")
    disk.reboot("dropped")

    again = Journal(disk)

    assert again.jobs() == journal.jobs() == [a_job(1, state="failed", code="seal.invalid"), a_job(2)]
    assert again.counters == journal.counters


def test_highest_number_and_floor_only_rise() -> None:
    journal = Journal(FileSystemSimulator())

    for number, floor in ((5, 2), (3, 4), (9, 1)):
        journal.see_number(number, floor)

    assert (journal.counters.highest_number, journal.counters.floor) == (9, 4)


@pytest.mark.parametrize(
    ("number", "image", "may"), [(8, "b", True), (7, "a", True), (7, "b", False), (6, "b", False), (6, "a", True)]
)
def test_a_name_moves_to_another_image_only_by_a_higher_number(number: int, image: str, may: bool) -> None:
    journal = Journal(FileSystemSimulator())
    journal.claim_reference("app:1", 7, "a")

    assert journal.claim_reference("app:1", number, image) is may


def test_a_transfer_id_that_is_no_plain_name_never_becomes_a_file() -> None:
    disk = FileSystemSimulator()
    journal = Journal(disk)

    for name in ("../../etc/passwd", "a/b", "", ".hidden", "x" * 200):
        with pytest.raises(ContentError):
            journal.write(a_job(transfer_id=name))

    assert disk.list("journal") == []


def test_old_finished_jobs_are_forgotten_one_by_one_but_stay_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 3)
    disk = FileSystemSimulator()
    journal = Journal(disk)
    for number in range(1, 8):
        journal.write(a_job(number, state="succeeded", announced=True))
    journal.write(a_job(9))

    journal.forget_oldest()

    assert [job.number for job in Journal(disk).jobs()] == [5, 6, 7, 9]
    assert Journal(disk).counters.floor == 5


def test_unsealed_jobs_are_forgotten_first_and_never_raise_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FINISHED", 2)
    journal = Journal(FileSystemSimulator())
    for number in (1, 2):
        journal.write(a_job(number, state="succeeded", announced=True))
    for number in (100, 101, 102):
        journal.write(a_job(number, state="failed", announced=True, sealed=False))

    journal.forget_oldest()

    assert [job.number for job in journal.jobs()] == [1, 2]
    assert journal.counters.floor == 0


def test_a_damaged_file_does_not_stop_the_device() -> None:
    disk = FileSystemSimulator()
    Journal(disk).write(a_job(1, state="succeeded"))
    disk.put("journal/transfer-2-1.json", b"\0\0\0")
    disk.put("journal/device.json", b"")

    journal = Journal(disk)

    assert [job.number for job in journal.jobs()] == [1]
    assert journal.counters.highest_number == 1
