"""Recorded results for tests of tables, pictures and pages."""

from __future__ import annotations

from benchmarks.results import DOES_NOT_FIT, NOT_INSTALLED, OK, OURS, Phase, Result, Run

MB = 1_000_000


def a_result(scenario: str, tool: str, size: int, *, seconds: float = 2.0, **details: int) -> Result:
    """A tool that made ``size`` bytes for an image of 100 MB."""
    build = Phase(seconds, seconds, 300 * MB, 200 * MB)
    apply = Phase(0.5, 0.4, 60 * MB, 110 * MB)
    return Result(scenario, tool, OK, 100 * MB, 90 * MB, bytes=size, build=build, apply=apply, details=details)


RUN = Run(
    {"CPU": "a processor", "cores": "2"},
    (
        a_result("web", OURS, 30_000, bytesRead=9_500_000),
        a_result("web", f"{OURS}-cm", 20_000, bytesRead=9_500_000),
        a_result("web", "layers", 8_000_000),
        a_result("web", "hdiffpatch", 40_000, seconds=8),
        Result("web", "bsdiff4", DOES_NOT_FIT, 100 * MB, 90 * MB, reason="needs about 33 GB, given 16 GB"),
        Result("web", "rdiff", NOT_INSTALLED, 100 * MB, 90 * MB, reason="apt install rdiff zstd"),
        a_result("dll", OURS, 3_000, bytesRead=1_000_000),
        a_result("dll", "hdiffpatch", 2_000),
        a_result("recon", OURS, 25 * MB),
        a_result("size-50", OURS, 900),
        a_result("size-800", OURS, 1_000),
        a_result("size-800", "xdelta3", 5_000),
    ),
)
