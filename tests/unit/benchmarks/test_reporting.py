from __future__ import annotations

import platform
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.article import article_tables
from benchmarks.machine import describe
from benchmarks.plots import plots
from benchmarks.reporting import BEGIN, END, NoMarkers, terminal, write_page
from benchmarks.results import Run, append
from benchmarks.svg import LogScale, number
from benchmarks.tables import losses, tables
from benchmarks.tools import tools
from tests.unit.benchmarks.records import RUN


def rows_of(title: str) -> dict[str, tuple[str, ...]]:
    [table] = [table for table in tables(RUN) if table.title == title]
    return {row[0].partition(":")[0]: row for row in table.rows}


def test_sizes_stand_beside_each_other_with_the_ratio_to_the_best_peer() -> None:
    rows = rows_of("Small image set: bytes over the link")

    assert rows["web"][1:] == (
        "100 MB", "30,000", "20,000", "8,000,000", "**40,000**", "no fit", "not installed", "0.75",
    )  # fmt: skip
    assert rows["dll"][-1] == "1.50"


def test_where_a_peer_does_better_is_said_first() -> None:
    assert losses(RUN).rows == (("bytes over the link", "hdiffpatch", "1 of 2", "dll 1.50"),)
    assert terminal(RUN).startswith(losses(RUN).title)


def test_a_profile_of_ours_is_no_peer_of_ours() -> None:
    assert not any("imagedelta" in row[1] for row in losses(RUN).rows)
    assert rows_of("Small image set: bytes over the link")["web"][3] == "20,000"


def test_a_tool_without_a_figure_is_listed_with_the_reason() -> None:
    shown = terminal(RUN)

    assert "bsdiff4, web: does not fit; needs about 33 GB, given 16 GB" in shown
    assert "rdiff, web: not installed; apt install rdiff zstd" in shown


def test_costs_are_of_building_and_of_applying() -> None:
    assert rows_of("Small image set: seconds to build")["web"] == (
        "web", "2.0", "2.0", "2.0", "8.0", "no fit", "not installed",
    )  # fmt: skip
    assert rows_of("Small image set: memory to apply, MB (highest sum of the process tree)")["web"][1] == "60"


def test_the_articles_tables_hold_its_figures_and_ours() -> None:
    shares, reconstructor, previous = article_tables(RUN)

    assert ("article: image delta (bsdiff)", "100 %", "3.2 %", "0.01 %", "16.1 %") in shares.rows
    assert ("small image set: imagedelta", "", "", "0.0030 %", "") in shares.rows
    assert (".NET app", "100 MB", "25.000 MB", "75.0 %") in reconstructor.rows
    assert ("web app", "100 MB", "0.030 MB", "99.970 %") in previous.rows


def test_a_picture_has_a_dot_for_each_result_and_follows_light_and_dark() -> None:
    drawn = plots(RUN)

    root = ET.fromstring(drawn["small-bytes.svg"])
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert [text for text in titles if text and ":" in text] == [
        "recon, imagedelta: 1",
        "dll, hdiffpatch: 0.667",
        "dll, imagedelta: 1",
        "web, imagedelta-cm: 0.667",
        "web, layers: 267",
        "web, hdiffpatch: 1.33",
        "web, imagedelta: 1",
    ]
    assert all("prefers-color-scheme:dark" in picture for picture in drawn.values())
    assert set(drawn) == {f"small-{kind}.svg" for kind in ("bytes", "time", "memory", "apply-memory", "reads")} | {
        "growth-size.svg"
    }


def test_ours_is_drawn_with_the_bytes_that_its_engine_counted() -> None:
    assert "web, imagedelta: 0.05<" in plots(RUN)["small-reads.svg"]


def test_nothing_measured_gives_no_picture_and_no_table() -> None:
    assert (plots(Run({}, ())), tables(Run({}, ()))) == ({}, [])


@pytest.mark.parametrize(("value", "text"), [(0.01, "0.01"), (1, "1"), (1500, "1.5k"), (2e6, "2M"), (3e9, "3G")])
def test_numbers_on_axes_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_scale_spans_whole_powers_of_ten_even_over_one_value() -> None:
    scale = LogScale.over([100], 0, 50)

    assert (scale.ticks(), scale.at(100), scale.at(1000)) == ([100, 1000], 0, 50)


def test_only_the_generated_part_of_a_page_and_pictures_of_runs_are_replaced(tmp_path: Path) -> None:
    page, pictures = tmp_path / "page.md", tmp_path / "page"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nafter\n")
    pictures.mkdir()
    (pictures / "growth-gone.svg").write_text("")
    (pictures / "fleet.svg").write_text("")

    write_page(RUN, page, pictures)

    text = page.read_text()
    assert text.startswith(f"# Before\n{BEGIN}\n### Where we lose") and text.endswith(f"{END}\nafter\n")
    assert "| CPU | a processor |" in text and "old" not in text
    assert "![small-bytes](page/small-bytes.svg)" in text
    assert {path.name for path in pictures.iterdir()} == {*plots(RUN), "fleet.svg"}


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("words")

    with pytest.raises(NoMarkers):
        write_page(RUN, tmp_path / "page.md", tmp_path / "page")

    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_the_command_names_what_is_wrong_with_a_results_file(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("no json\n")

    ended = CliRunner().invoke(main, ["report", str(tmp_path / "r.jsonl")])

    assert (ended.exit_code, ended.output.startswith("Error: r.jsonl, line 1")) == (1, True)


def test_the_machine_is_described_with_versions_and_without_its_name() -> None:
    about = describe(list(tools().values()))

    assert int(about["cores"]) > 0 and about["hdiffpatch"][0].isdigit()
    assert "bsdiff4 1." in about["libraries of imagedelta"]
    assert platform.node() not in about.values()


def test_pictures_can_be_had_without_a_page(tmp_path: Path) -> None:
    append(tmp_path / "r.jsonl", "result", RUN.results[0])

    ended = CliRunner().invoke(main, ["report", str(tmp_path / "r.jsonl"), "--pictures", str(tmp_path / "drawn")])

    assert ended.exit_code == 0 and "small-bytes.svg" in ended.output
    assert (tmp_path / "drawn/small-bytes.svg").read_text().startswith("<svg")
