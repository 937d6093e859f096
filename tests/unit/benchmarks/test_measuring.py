from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from benchmarks.measuring import Cost, Overrun, measure

MB = 1_000_000
ALLOCATE = "data = bytearray({size}); import time; time.sleep(0.3)"


def run(code: str, *, memory_bytes: int = 4_000 * MB, timeout_seconds: float = 60) -> Cost:
    return measure([sys.executable, "-c", code], memory_bytes=memory_bytes, timeout_seconds=timeout_seconds)


def test_the_memory_of_a_command_is_seen() -> None:
    small, large = run("pass"), run(ALLOCATE.format(size=200 * MB))

    assert 195 * MB <= large.peak_rss_bytes - small.peak_rss_bytes <= 220 * MB


def test_the_memory_of_children_is_added_up() -> None:
    child = ALLOCATE.format(size=100 * MB)
    code = f"import subprocess, sys; p = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]"

    cost = run(f"{code}; [q.wait() for q in p]")

    assert 200 * MB <= cost.peak_rss_bytes <= 300 * MB


def test_cpu_of_children_and_bytes_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(30 * MB))
    child = f"open({str(tmp_path / 'data')!r}, 'rb').read(); import time; e = time.process_time() + 0.5\n"
    child += "while time.process_time() < e: pass"

    cost = run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)")

    assert 0.5 <= cost.cpu_seconds <= 2
    assert 30 * MB <= cost.read_bytes <= 40 * MB


def test_what_a_command_says_and_how_it_ends_is_kept() -> None:
    cost = run("import sys; print('seen'); print('bad luck', file=sys.stderr); sys.exit(7)")

    assert (cost.exit_code, cost.output, cost.error) == (7, "seen", "bad luck")


def test_a_command_that_takes_more_memory_than_given_is_killed() -> None:
    with pytest.raises(Overrun, match=r"held 0\.[1-9] GB of the 0\.1 GB"):
        run(ALLOCATE.format(size=300 * MB), memory_bytes=100 * MB)


def test_a_command_that_takes_more_time_than_given_is_killed_with_its_children() -> None:
    started = time.monotonic()

    with pytest.raises(Overrun, match="not done after 1 s"):
        run("import subprocess; subprocess.run(['sleep', '60'])", timeout_seconds=1)

    assert time.monotonic() - started < 20


def test_what_takes_no_time_at_all_took_memory() -> None:
    costs = [measure(["/bin/true"], memory_bytes=1 << 30, timeout_seconds=20) for _ in range(30)]

    assert all(cost.peak_rss_bytes > 0 for cost in costs)
