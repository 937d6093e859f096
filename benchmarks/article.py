"""The three tables of the architecture article that this project began with, filled with our images.

Source: Azure Architecture Center, "Efficient Docker image deployment for low-bandwidth connectivity": its evaluation
of options, and its two tables under "Performance efficiency". Its figures are of its own images, which are not
published: they stand beside ours for orientation, not as a comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import OURS, Result, Run
from benchmarks.tables import Table

_COLUMNS = ("first image", "base on device", "app update", "base update")
_ARTICLE = (
    ("article: Docker layers", "100 %", "10.5 %", "22.4 %", "100 %"),
    ("article: image delta (bsdiff)", "100 %", "3.2 %", "0.01 %", "16.1 %"),
)
_SETS = (
    ("small image set", ("first", "base", "dll", "runtime")),
    ("full corpus", ("S0", "S2", "S3t", "S5s")),
)
"""The scenarios of our images that are the article's columns."""
_SHOWN = (
    ("layers", "Docker layers"),
    ("bsdiff4", "image delta (bsdiff4)"),
    (f"{OURS}-v1", "imagedelta, first format"),
    (OURS, "imagedelta"),
    (f"{OURS}-cm", "imagedelta, native coder"),
)

_RECONSTRUCTOR = (
    ("article: Data visualization", "228 MB", "79.6 MB", "65.1 %"),
    ("article: Simulated WCD", "188 MB", "1.5 MB", "99.2 %"),
    ("article: Proxy", "258 MB", "29.9 MB", "88.4 %"),
)
_PREVIOUS = (
    ("article: Data visualization", "228 MB", "0.01 MB", "99.9 %"),
    ("article: Simulated WCD", "188 MB", "0.5 MB", "99.7 %"),
    ("article: Proxy", "258 MB", "0.04 MB", "99.9 %"),
)
_FROM_RECONSTRUCTOR = (
    ("recon", ".NET app"),
    ("recon-py", "Python app"),
    ("recon-web", "web app"),
    ("S1", ".NET app, corpus"),
    ("S1x", "Python app, corpus"),
    ("S1n", "Node app, corpus"),
)
_FROM_PREVIOUS = (
    ("app", ".NET app"),
    ("py", "Python app"),
    ("web", "web app"),
    ("S3", ".NET app, corpus"),
    ("S3p", "Python app, corpus"),
    ("S8", "Node app, corpus"),
)


def article_tables(run: Run) -> list[Table]:
    """The three tables; rows and cells that were not measured are left empty or out."""
    return [
        _evaluation(run),
        _reduction("Image Reconstructor as source", run, _RECONSTRUCTOR, _FROM_RECONSTRUCTOR),
        _reduction("Previous version as source", run, _PREVIOUS, _FROM_PREVIOUS),
    ]


def _evaluation(run: Run) -> Table:
    rows: list[tuple[str, ...]] = list(_ARTICLE)
    for name, scenarios in _SETS:
        for tool, title in _SHOWN:
            cells = [_share(run.of(scenario, tool)) for scenario in scenarios]
            if any(cells):
                rows.append((f"{name}: {title}", *cells))
    return Table("Share of the image that is sent", ("option", *_COLUMNS), tuple(rows))


def _share(result: Result | None) -> str:
    if result is None or result.bytes is None:
        return ""
    share = 100 * result.bytes / result.target_bytes
    return f"{share:.1f} %" if share >= 1 else f"{share:.4f} %"


def _reduction(title: str, run: Run, article: Sequence[tuple[str, ...]], ours: Sequence[tuple[str, str]]) -> Table:
    rows = list(article)
    for scenario, name in ours:
        result = run.of(scenario, OURS)
        if result and result.bytes is not None:
            saved = 100 * (1 - result.bytes / result.target_bytes)
            size, patch = f"{result.target_bytes / 1e6:.0f} MB", f"{result.bytes / 1e6:.3f} MB"
            rows.append((name, size, patch, f"{saved:.3f} %" if saved > 99 else f"{saved:.1f} %"))
    return Table(title, ("image", "image size", "patch size", "data reduction"), tuple(rows))
