"""Calls of functions that answer nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from imagedelta_host.invoke import Invoker
from imagedelta_host.loader import TIMER, AppFunction
from imagedelta_host.user_loop import UserLoop


def called(run: Callable[[object], object]) -> object:
    """What a timer function comes to."""
    loop = UserLoop()
    try:
        function = AppFunction("sweep", "timer", TIMER, run, {"name": "timer", "type": TIMER})
        return asyncio.run(Invoker(Path(), loop, str).call(function, None))
    finally:
        loop.stop()


def test_a_value_that_no_binding_takes_fails_the_function_in_the_workers_words() -> None:
    with pytest.raises(RuntimeError, match="function 'sweep' without a \\$return binding returned a non-None value"):
        called(lambda timer: "done")


def test_a_function_that_returns_nothing_succeeds() -> None:
    assert called(lambda timer: None) is None
