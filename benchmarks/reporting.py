"""Results into the terminal, and into the generated part of a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.article import article_tables
from benchmarks.plots import SETS, plots
from benchmarks.results import Run
from benchmarks.tables import Table, losses, tables, without_figure

BEGIN = "<!-- generated: python -m benchmarks report -->"
END = "<!-- end of the generated part -->"


class NoMarkers(Exception):
    """The page has no place for the generated part."""


def terminal(run: Run) -> str:
    """All tables as text, and what has no figure."""
    parts = [table.text() for table in (losses(run), *tables(run), *article_tables(run))]
    return "\n".join([*parts, *without_figure(run)]).replace("**", "")


def write_page(run: Run, page: Path, pictures: Path) -> None:
    """Replace the generated part of ``page``, and the pictures of runs in ``pictures``, a folder below the page's.

    Raises:
        NoMarkers: The page has no markers; nothing was written.
    """
    before, found, rest = page.read_text("utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise NoMarkers(f"{page.name} needs the lines {BEGIN} and {END}")
    drawn = [path.relative_to(page.parent).as_posix() for path in write_pictures(run, pictures)]
    page.write_text(f"{before}{BEGIN}\n{_generated(run, drawn)}\n{END}{after}", "utf-8")


def write_pictures(run: Run, folder: Path) -> list[Path]:
    """Replace the pictures of runs in ``folder`` by those of this run; those of other commands stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SETS:
        for old in folder.glob(f"{name}-*.svg"):
            old.unlink()
    written = []
    for name, picture in plots(run).items():
        written.append(folder / name)
        written[-1].write_text(picture, "utf-8")
    return written


def _generated(run: Run, drawn: Sequence[str]) -> str:
    parts = ["### Where we lose", losses(run).markdown(), "### Machine and versions", _machine(run).markdown()]
    parts += ["### The architecture article's tables", *(table.markdown() for table in article_tables(run))]
    parts += ["### Tables", *(table.markdown() for table in tables(run))]
    if missing := without_figure(run):
        parts += ["**Without a figure**\n", *(f"- {line}" for line in missing), ""]
    parts += ["### Pictures", *(f"![{Path(path).stem}]({path})" for path in drawn)]
    return "\n".join(parts)


def _machine(run: Run) -> Table:
    return Table("What measured", ("what", "which"), tuple(run.machine.items()))
