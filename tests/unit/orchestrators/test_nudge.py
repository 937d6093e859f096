"""nudge on the real SDK: what is due is done now, again while there is more, and never for ever."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.orchestrators.workflow import Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]


def answering(*more: bool) -> Any:
    left = list(more)
    return lambda payload: ok(done={}, more=left.pop(0) if left else False)


@pytest.mark.parametrize(("answers", "calls"), [((False,), 1), ((True, True, False), 3), ((True,) * 99, 20)])
def test_it_is_attended_again_while_there_is_more_a_bounded_number_of_times(
    answers: tuple[bool, ...], calls: int, tmp_path: Path
) -> None:
    flow = Workflow(attend=answering(*answers))

    status, _ = flow.run("nudge", {}, tmp_path)

    assert (status, flow.names) == ("Completed", ["attend"] * calls)


def test_what_failed_is_left_to_the_timer(tmp_path: Path) -> None:
    flow = Workflow(attend=final("internal"))

    status, _ = flow.run("nudge", {}, tmp_path)

    assert (status, flow.names) == ("Completed", ["attend"])
