"""Activities that show how they are run: together, alone, or not for long."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import azure.durable_functions as df

app = df.DFApp()
_both = threading.Barrier(2)


@app.activity_trigger(input_name="payload")
def meet(payload: str) -> int:
    """Return when another one runs in the same process."""
    _both.wait(60)
    return os.getpid()


@app.activity_trigger(input_name="payload")
def dies(payload: str) -> None:
    """Take the process along as soon as a neighbour has noted that it runs."""
    while not Path(payload).exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


@app.activity_trigger(input_name="payload")
def neighbour(payload: str) -> int:
    """The first time wait for ever, the second time return."""
    path = Path(payload)
    if path.exists():
        return os.getpid()
    path.touch()
    time.sleep(600)
    return 0


@app.activity_trigger(input_name="payload")
def exits(payload: str) -> None:
    sys.exit(3)


@app.activity_trigger(input_name="payload")
def same(payload: str) -> str:
    return payload
