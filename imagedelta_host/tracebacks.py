"""Tracebacks as the app's author wants them: from the app's own code on."""

from __future__ import annotations

import traceback
from pathlib import Path

_HOST_CODE = Path(__file__).parent
_NOT_OF_THE_APP = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
_MAX_CHARACTERS = 8 << 10


def traceback_of(error: BaseException) -> str:
    """The traceback from the app's own code on, bounded, since it travels through histories."""
    trace = error.__traceback__
    while trace is not None and _is_of_the_host(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    return text if len(text) <= _MAX_CHARACTERS else f"…{text[-_MAX_CHARACTERS:]}"


def _is_of_the_host(file: str) -> bool:
    return file in _NOT_OF_THE_APP or Path(file).is_relative_to(_HOST_CODE)
