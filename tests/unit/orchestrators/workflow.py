"""The project's orchestrators on the durable engine with the real SDK; steps answer what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from activities import STEPS
from imagedelta_host.durable.store import DurableStore
from orchestrators import ORCHESTRATORS
from tests.unit.host.engine_harness import CuttingStore, Machine, activity_function, orchestrator

Answer = Callable[[dict[str, Any]], Any]
INSTANCE = "it"
DUE = "start_due"
"""The activity that takes a durable client (triggers.due)."""


def ok(**value: Any) -> dict[str, Any]:
    return {"ok": True, "value": value}


def final(code: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "detail": "it cannot be done"}


class Workflow:
    """Every step of the app, by what it answers; the calls in their order."""

    def __init__(self, **answers: Any) -> None:
        """Args:
        answers: Step to its answer: a dict, or a function of the payload, which may raise.
        """
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._answers = answers
        self._functions = [activity_function(self._step(name)) for name in (*(step.__name__ for step in STEPS), DUE)]
        self._functions += [orchestrator(body) for body in ORCHESTRATORS]

    def _step(self, name: str) -> Answer:
        def run(payload: dict[str, Any]) -> Any:
            self.calls.append((name, payload))
            answer = self._answers[name]
            return answer(payload) if callable(answer) else answer

        run.__name__ = name
        return run

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def given(self, step: str, key: str) -> list[Any]:
        """What the step was called with, under one key of its payload."""
        return [payload[key] for name, payload in self.calls if name == step]

    def run(self, name: str, payload: Any, folder: Path) -> tuple[str, Any]:
        """Status and output."""
        return self._live(DurableStore(folder / "durable.sqlite"), name, payload)

    def run_cut(self, name: str, payload: Any, folder: Path, cut_at: int) -> tuple[str, Any]:
        """The same with the power lost after the commit ``cut_at``, and a new process that goes on."""
        path = folder / f"{cut_at}.sqlite"
        self._live(CuttingStore(path, cut_at, after_commit=True), name, payload)
        return self._live(DurableStore(path), name, None)

    def commits(self, name: str, payload: Any, folder: Path) -> int:
        store = CuttingStore(folder / "whole.sqlite")
        self._live(store, name, payload)
        return store.commits

    def _live(self, store: DurableStore, name: str, payload: Any) -> tuple[str, Any]:
        machine = Machine(store, self._functions)
        if payload is not None:
            machine.start(name, payload, INSTANCE)
        row = asyncio.run(machine.finish(INSTANCE))
        store.close()
        return row.status, json.loads(row.output or "null")
