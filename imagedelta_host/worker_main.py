"""The main program of a worker process: ``python -m imagedelta_host.worker_main SOCKET_FD APP_DIR HOST_PID``."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from imagedelta_host.durable.activity import failure_of, run_activity
from imagedelta_host.framing import receive_frame, send_frame
from imagedelta_host.invoke import Surroundings
from imagedelta_host.loader import AppFunction, load_app
from imagedelta_host.logs import configure_logging

_PR_SET_PDEATHSIG = 1


def die_with(host_pid: int) -> None:
    """Have the kernel kill this process when its host dies, also while C code holds the interpreter."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host_pid:
        os._exit(1)


def serve(connection: socket.socket, app_dir: Path, functions: dict[str, AppFunction]) -> None:
    """Run activities until the host closes the connection."""
    while (request := receive_frame(connection)) is not None:
        send_frame(connection, json.dumps(_answer(app_dir, functions, json.loads(request))).encode())


def _answer(app_dir: Path, functions: dict[str, AppFunction], request: dict[str, str | None]) -> dict[str, str | None]:
    try:
        function = functions[str(request["function"])]
        around = Surroundings(app_dir, lambda: str(request["client"]))
        return {"result": run_activity(function, request["input"], around)}
    except Exception as error:
        reason, details = failure_of(error)
        return {"reason": reason, "details": details}


def main() -> None:
    """Load the app and serve; signals that stop the host are left to the host."""
    descriptor, app_dir, host_pid = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    die_with(host_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logging()
    logging.getLogger("azure").setLevel(logging.WARNING)
    functions = {function.name: function for function in load_app(app_dir)}
    serve(socket.socket(fileno=descriptor), app_dir, functions)


if __name__ == "__main__":
    main()
