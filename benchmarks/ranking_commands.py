"""The commands that measure how good ranking is."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import ranking_pairs
from benchmarks.ranking_cases import Figures, cases, pairs_of
from benchmarks.ranking_images import ImageShelf, NoImages
from benchmarks.ranking_pairs import DEVICE, QUICK
from benchmarks.ranking_report import estimates, outcomes, picture, tables
from benchmarks.ranking_speed import seconds_to_rank
from benchmarks.results import BadResults
from imagedelta.ranking import rank
from imagedelta_cli.profile_option import profile_option

_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
_PATH = click.Path(path_type=Path)
_images = click.option("--images", "folder", type=_FOLDER, required=True, help="Folder of image tars.")
_work = click.option(
    "--work", type=_PATH, default=Path(".benchmarks/ranking"), show_default=True, help="Keeps layers and indexes."
)


@click.command()
@_images
@_work
@click.option("--out", type=_PATH, required=True, help="Figures of one profile; what it has is not repeated.")
@click.option("--targets", default="", help="Names, with commas; all by default.")
@click.option("--sources", default="", help="Names, with commas; all by default.")
@click.option("--quick", is_flag=True, help="Pack with LZMA's fastest preset: for images of different kinds.")
@click.option("--threads", type=int, default=1, show_default=True)
@profile_option
def ranking(
    folder: Path, work: Path, out: Path, targets: str, sources: str, quick: bool, threads: int, profile: str
) -> None:
    """Build the patch of each pair of images that ranking chooses among; smallest estimate first."""
    shelf, coding = _shelf(folder, work), QUICK if quick else DEVICE
    wanted = [
        (target, source)
        for target, source in pairs_of(cases(shelf.names))
        if target in (targets.split(",") if targets else shelf.names)
        and source in (sources.split(",") if sources else shelf.names)
    ]
    try:
        left = ranking_pairs.missing(wanted, ranking_pairs.read(out), coding)
    except BadResults as error:
        raise click.ClickException(str(error)) from error
    for target, source in sorted(left, key=lambda pair: _estimate(shelf, pair[0], pair[1], profile)):
        pair = ranking_pairs.measure(shelf, target, source, coding, profile, threads)
        ranking_pairs.append(out, pair)
        click.echo(f"{target:<16} from {source:<16} {pair.patch_bytes:>12,} bytes {pair.seconds:>8.1f} s")


@click.command("ranking-report")
@click.argument("measured", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_images
@_work
@click.option("--picture", "drawn", type=_PATH, help="SVG file of estimated against real bytes.")
@click.option("--markdown", is_flag=True, help="Tables as Markdown.")
@profile_option
def ranking_report(measured: Path, folder: Path, work: Path, drawn: Path | None, markdown: bool, profile: str) -> None:
    """Rank the images by their signatures and hold the choices against the patches that were built."""
    shelf = _shelf(folder, work)
    try:
        figures = Figures(ranking_pairs.read(measured))
    except BadResults as error:
        raise click.ClickException(str(error)) from error
    signatures = {name: shelf.signature(name) for name in shelf.names}
    judged = outcomes(cases(shelf.names), signatures, figures, profile)
    estimated = estimates(signatures, figures, profile)
    for table in tables(judged, estimated, figures):
        click.echo(table.markdown() if markdown else table.text())
    seconds, of_them_reading = seconds_to_rank(list(signatures.values()))
    click.echo(f"one target against 200 signatures: {seconds:.2f} s, {of_them_reading:.2f} s of them reading")
    if drawn:
        drawn.parent.mkdir(parents=True, exist_ok=True)
        drawn.write_text(picture(estimated), "utf-8")


def _shelf(folder: Path, work: Path) -> ImageShelf:
    try:
        return ImageShelf(folder, work)
    except NoImages as error:
        raise click.ClickException(str(error)) from error


def _estimate(shelf: ImageShelf, target: str, source: str, profile: str) -> int:
    return rank(shelf.signature(target), [shelf.signature(source)], profile=profile)[0].estimated_bytes
