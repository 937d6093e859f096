"""One line in the audit log for every change that came over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.deps import Deps
from triggers.http import Request


def record(request: Request, deps: Deps, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> None:
    deps.store.audit.record(request.who, action, subject, detail or {}, deps.now())
