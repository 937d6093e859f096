"""A durable client in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Durable:
    """A durable client that remembers what was started; an instance runs until ``finish``."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str | None, Any]] = []
        self.running: set[str] = set()
        self.broken = False

    async def get_status(self, instance_id: str) -> Any:
        return SimpleNamespace(runtime_status="Running" if instance_id in self.running else None)

    async def start_new(
        self, orchestration_function_name: str, instance_id: str | None = None, client_input: Any = None
    ) -> str:
        if self.broken:
            raise Exception("the task hub does not answer")
        assert instance_id is not None
        self.started.append((orchestration_function_name, instance_id, client_input))
        self.running.add(instance_id)
        return instance_id

    def names(self) -> list[str | None]:
        return [instance for _, instance, _ in self.started]
