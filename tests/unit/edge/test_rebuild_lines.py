"""What child and parent say to each other arrives as it was meant, or is recognised as no answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_module.engines import EngineDamaged, ImageName, LayersGone, PresentImage
from edge_module.rebuild_lines import (
    MAX_LINE_BYTES,
    Begun,
    Failed,
    Rebuilt,
    answer_line,
    read_answer,
    read_task,
    task_line,
)
from edge_module.rebuilds import RebuildTask
from imagedelta import errors
from imagedelta.errors import ContentError, DependencyError, ImageDeltaError, SourceMissing
from tests.unit.edge.world import make_bundle

IMAGE = PresentImage("sha256:" + "1" * 64, ("sha256:" + "2" * 64,), (ImageName("app:2", None), ImageName("b:1", "d")))


class NewerError(SourceMissing):
    """A class of an engine that the other side has no name for."""


def test_a_task_arrives_as_it_was_given() -> None:
    task = RebuildTask("inbox/é.bundle", make_bundle().head, "app:2", 1 << 27)

    assert read_task(task_line(task)) == task


@pytest.mark.parametrize("answer", [Begun(), Rebuilt(IMAGE)])
def test_an_answer_arrives_as_it_was_given(answer: Begun | Rebuilt) -> None:
    assert read_answer(answer_line(answer)) == answer


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.DigestMismatch("layer\nx"), errors.DigestMismatch),
        (SourceMissing("gone", code="source.different"), SourceMissing),
        (NewerError("gone"), SourceMissing),
        (DependencyError("full", code="disk.full", retry_after=timedelta(seconds=7)), DependencyError),
        (EngineDamaged("records"), EngineDamaged),
        (LayersGone("again"), LayersGone),
        (ImageDeltaError("ValueError: x"), ImageDeltaError),
    ],
)
def test_an_error_is_raised_on_the_other_side_as_it_was_here(error: ImageDeltaError, kind: type) -> None:
    read = read_answer(answer_line(Failed(error)))

    assert isinstance(read, Failed)
    assert type(read.error) is kind
    assert (str(read.error), read.error.code) == (str(error), error.code)
    assert getattr(read.error, "retry_after", None) == getattr(error, "retry_after", None)


def test_every_error_of_the_engine_room_arrives_as_its_own_class() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ImageDeltaError)]

    read = [read_answer(answer_line(Failed(each("x")))) for each in classes]

    assert [type(each.error) for each in read if isinstance(each, Failed)] == classes


@given(st.binary(max_size=200))
def test_noise_is_no_answer(noise: bytes) -> None:
    assert read_answer(noise + b"\n") is None


@pytest.mark.parametrize("cut", range(len(answer_line(Rebuilt(IMAGE)))))
def test_an_answer_cut_anywhere_is_none(cut: int) -> None:
    assert read_answer(answer_line(Rebuilt(IMAGE))[:cut]) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"say": "done", "image": 1, "layers": [], "names": []}\n',
        b'{"say": "done", "image": "x", "layers": [1], "names": []}\n',
        b'{"say": "done", "image": "x", "layers": [], "names": [["a"]]}\n',
        b'{"say": "failed", "kind": "object", "code": "x", "detail": "x"}\n',
        b'{"say": "failed", "kind": "DependencyError", "code": "x", "detail": "x", "retryAfter": 1e300}\n',
        b'{"say": "more"}\n',
        b"[" * 100_000 + b"\n",
        b'"' + b"x" * MAX_LINE_BYTES + b'"\n',
    ],
)
def test_an_answer_of_another_form_is_none(line: bytes) -> None:
    assert read_answer(line) is None


def test_a_long_detail_is_cut() -> None:
    assert len(answer_line(Failed(ContentError("\u0001" * 1_000_000)))) < 30_000
