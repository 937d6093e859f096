"""What a log line speaks of: ids that are set at the borders and hold for everything that is logged inside.

    with about(set_id="set-1", device_id="ship-1"):
        log.info("released")            # the line has both, wherever the logger is

They go with the thread or task, as context variables do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

IDS = ("set_id", "device_id", "image_id", "transfer_id", "patch_id", "registration_id", "notification_id", "hub")
TRACE = "trace_id"

_fields: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039 - never changed in place


@contextmanager
def about(**ids: str | None) -> Iterator[None]:
    """Those that are None are left as they are."""
    token = _fields.set({**_fields.get(), **{name: value for name, value in ids.items() if value is not None}})
    try:
        yield
    finally:
        _fields.reset(token)


def log_fields() -> Mapping[str, str]:
    """Of the present thread or task."""
    return _fields.get()
