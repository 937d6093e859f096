from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main
from benchmarks.ranking_cases import SUBSET_SIZE, SUBSETS, Case, Figures, cases, judge, pairs_of
from benchmarks.ranking_images import ImageShelf, NoImages
from benchmarks.ranking_pairs import DEVICE, QUICK, Pair, append, measure, missing, read
from benchmarks.results import BadResults
from tests.images import an_image, docker_save


def noise(seed: int, size: int = 60_000) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def shelf(tmp_path: Path) -> ImageShelf:
    """Two versions of an app, the second with one file more, and another app."""
    tars = tmp_path / "tars"
    tars.mkdir()
    images = {
        "app-1": an_image({"a": noise(1), "b": noise(2)}),
        "app-2": an_image({"a": noise(1), "b": noise(2), "c": noise(3)}),
        "other-1": an_image({"x": noise(4), "a": noise(1)}),
    }
    for name, image in images.items():
        (tars / f"{name}.tar").write_bytes(docker_save(image))
    return ImageShelf(tars, tmp_path / "work")


def test_each_target_has_all_others_and_ten_subsets_of_five_the_same_in_each_run() -> None:
    names = [f"image-{n}" for n in range(9)]

    found = list(cases(names))

    assert found == list(cases(reversed(names)))
    assert len(found) == 9 * (1 + SUBSETS)
    assert {len(case.sources) for case in found} == {8, SUBSET_SIZE}
    assert not any(case.target in case.sources for case in found)


def test_big_images_are_compared_among_each_other_only() -> None:
    assert list(cases(["big-1", "big-2", "small-1"])) == [Case("big-1", ("big-2",)), Case("big-2", ("big-1",))]


def test_pairs_are_read_back_and_not_measured_twice(tmp_path: Path) -> None:
    pairs = [Pair("t", "s", DEVICE, 10, 0.1), Pair("t", "u", QUICK, 12, 0.2)]
    for pair in pairs:
        append(tmp_path / "pairs.jsonl", pair)

    assert read(tmp_path / "pairs.jsonl") == pairs
    assert read(tmp_path / "none.jsonl") == []
    assert missing([("t", "s"), ("t", "u")], pairs, DEVICE) == [("t", "u")]


def test_a_line_that_is_no_pair_is_named(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"target": "t"}\n')

    with pytest.raises(BadResults, match=r"pairs\.jsonl, line 1"):
        read(tmp_path / "pairs.jsonl")


def test_a_quick_figure_is_reduced_by_what_the_same_target_saved_in_both_codings() -> None:
    figures = Figures([Pair("t", "s", DEVICE, 80, 1), Pair("t", "s", QUICK, 100, 1), Pair("t", "u", QUICK, 200, 1)])

    assert (figures.size("t", "s"), figures.size("t", "u"), figures.coding("t", "u")) == (80, 160, QUICK)
    with pytest.raises(KeyError):
        figures.size("t", "v")


def test_both_codings_make_a_patch_and_the_devices_is_the_smaller(shelf: ImageShelf) -> None:
    device, quick = (measure(shelf, "app-2", "other-1", coding) for coding in (DEVICE, QUICK))

    assert 120_000 < device.patch_bytes <= quick.patch_bytes < 130_000


def test_a_choice_is_held_against_the_best_measured_source(shelf: ImageShelf) -> None:
    signatures = {name: shelf.signature(name) for name in shelf.names}
    case = Case("app-2", ("app-1", "other-1"))
    known = [Pair("app-2", "app-1", DEVICE, 60_000, 1), Pair("app-2", "other-1", DEVICE, 50_000, 1)]

    chosen_is_worse = judge(case, signatures, Figures(known))
    other_is_unmeasured = judge(case, signatures, Figures(known[:1]))
    chosen_is_unmeasured = judge(case, signatures, Figures(known[1:]))

    assert chosen_is_worse and (chosen_is_worse.chosen, chosen_is_worse.best) == ("app-1", "other-1")
    assert chosen_is_worse.regret == pytest.approx(0.2)
    assert other_is_unmeasured and (other_is_unmeasured.regret, other_is_unmeasured.unmeasured) == (0, 1)
    assert chosen_is_unmeasured and chosen_is_unmeasured.regret == float("inf")
    assert judge(case, signatures, Figures([])) is None


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoImages):
        ImageShelf(tmp_path, tmp_path / "work")


def test_the_commands_measure_every_pair_once_and_report(shelf: ImageShelf, tmp_path: Path) -> None:
    folders = ["--images", str(tmp_path / "tars"), "--work", str(tmp_path / "work")]
    out = tmp_path / "pairs.jsonl"

    first = CliRunner().invoke(main, ["ranking", *folders, "--out", str(out)])
    second = CliRunner().invoke(main, ["ranking", *folders, "--out", str(out)])
    report = CliRunner().invoke(main, ["ranking-report", str(out), *folders, "--picture", str(tmp_path / "p/e.svg")])

    assert (first.exit_code, second.exit_code, report.exit_code) == (0, 0, 0), report.output
    assert {(pair.target, pair.source) for pair in read(out)} == set(pairs_of(cases(shelf.names)))
    assert (len(first.output.splitlines()), second.output) == (6, "")
    assert "all" in report.output and "3 (100.0 %)" in report.output and "against 200 signatures" in report.output
    assert (tmp_path / "p/e.svg").read_text().startswith("<svg")
