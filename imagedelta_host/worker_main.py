"""The main program of a worker process: ``python -m imagedelta_host.worker_main SOCKET_FD APP_DIR HOST_PID``."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from imagedelta_host.durable.activity import failure_of, run_activity
from imagedelta_host.framing import receive_frame, send_frame
from imagedelta_host.invoke import Surroundings
from imagedelta_host.loader import AppFunction, load_app
from imagedelta_host.logs import configure_logging
from imagedelta_host.user_loop import thread_count

_PR_SET_PDEATHSIG = 1


def die_with(host_pid: int) -> None:
    """Have the kernel kill this process when its host dies, also while C code holds the interpreter."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host_pid:
        os._exit(1)


def serve(connection: socket.socket, app_dir: Path, functions: dict[str, AppFunction]) -> None:
    """Run activities in threads until the host closes the connection."""
    sending = threading.Lock()

    def run(request: dict[str, Any]) -> None:
        answer = json.dumps({"id": request["id"], **_answer(app_dir, functions, request)}).encode()
        with sending, contextlib.suppress(OSError):  # a host that has gone waits for no answer
            send_frame(connection, answer)

    pool = ThreadPoolExecutor(thread_count(), thread_name_prefix="activity")
    while (request := receive_frame(connection)) is not None:
        pool.submit(run, json.loads(request))
    pool.shutdown(wait=False, cancel_futures=True)


def _answer(app_dir: Path, functions: dict[str, AppFunction], request: dict[str, Any]) -> dict[str, str | None]:
    try:
        function = functions[request["function"]]
        around = Surroundings(app_dir, lambda: str(request["client"]))
        return {"result": run_activity(function, request["input"], around)}
    except BaseException as error:  # an exit of user code, too, is a failure of this activity
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
