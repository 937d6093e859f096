from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from activities import STEPS
from activities.binding import bind
from activities.failures import final_failure
from imagedelta.errors import ContentError, DependencyError, RequestError
from services.deps import Deps
from services.watching.telemetry import NoTelemetry


def no_deps() -> Any:
    return SimpleNamespace(telemetry=NoTelemetry())


def failing(error: BaseException) -> Any:
    def a_step(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
        raise error

    return bind(a_step, no_deps)


def test_what_a_step_returns_is_its_value() -> None:
    def doubled(deps: Deps, payload: Mapping[str, Any]) -> dict[str, Any]:
        return {"twice": payload["n"] * 2}

    assert bind(doubled, no_deps)({"n": 4}) == {"ok": True, "value": {"twice": 8}}


def test_what_a_retry_can_heal_is_raised() -> None:
    error = DependencyError("the storage is away")

    with pytest.raises(DependencyError) as caught:
        failing(error)({})

    assert caught.value is error


def test_a_full_disk_of_this_machine_is_worth_a_retry() -> None:
    with pytest.raises(DependencyError, match="No space left") as caught:
        failing(OSError(28, "No space left on device"))({})

    assert caught.value.code == "dependency.scratch"


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (ContentError("cut short", code="content.truncated"), "content.truncated", "cut short"),
        (RequestError("no such set", code="request.not_found"), "request.not_found", "no such set"),
        (KeyError("patchId"), "internal", "KeyError: 'patchId'"),
        (ZeroDivisionError("x" * 900), "internal", f"ZeroDivisionError: {'x' * 481}"),
    ],
)
def test_what_is_final_is_returned_with_its_code(error: Exception, code: str, detail: str) -> None:
    assert failing(error)({}) == {"ok": False, "code": code, "detail": detail}
    assert final_failure(error) == (code, detail)


def test_a_process_that_is_told_to_end_ends() -> None:
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt())({})


def test_a_wrong_setting_fails_no_step_for_ever() -> None:
    def broken() -> Deps:
        raise RequestError("IMAGEDELTA_BATCH_SIZE must be a whole number", code="settings.invalid")

    with pytest.raises(RequestError, match="IMAGEDELTA_BATCH_SIZE"):
        bind(lambda deps, payload: {}, broken)({})


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_the_host_sees_one_argument_and_the_name_of_the_step(step: Any) -> None:
    bound = bind(step, no_deps)

    assert bound.__name__ == step.__name__
    assert list(inspect.signature(bound).parameters) == ["payload"]
