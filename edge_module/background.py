"""A process that its neighbours do not notice: last in line for CPU and disk, first to end when memory is short.

Everything here may be done without any privilege, and whatever a kernel or container forbids is left: the work matters
more than its manners. Only the limit of memory is a promise.

Source: ioprio_set(2), prctl(2), getrlimit(2), proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "arm": 314, "i386": 289}
"""libc has no function for it, so it is called by its number, which each kind of processor has of its own."""
_PR_SET_PDEATHSIG = 1
_NICEST = 19
_FIRST_TO_GO = 1000
log = logging.getLogger("imagedelta.background")


def settle(arguments: Sequence[str]) -> None:
    """First thing in a process of this kind, before anything is imported that takes time or memory.

    Args:
        arguments: Its command line, with ``--parent ID`` at the end.
    """
    if arguments[-2:-1] == ["--parent"] and arguments[-1].isdecimal():
        die_with(int(arguments[-1]))
    yield_to_everyone()


def die_with(parent: int) -> None:
    """Be killed as soon as the thread that started this process ends. It has ended already: end now.

    Args:
        parent: Process id of the one that started this one.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        log.debug("prctl: %s", os.strerror(ctypes.get_errno()))
    if os.getppid() != parent:  # it ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def yield_to_everyone() -> None:
    with suppress(OSError):
        os.nice(_NICEST)
    number = _IOPRIO_SET.get(_calls_of(platform.machine(), sys.maxsize > 2**32))
    if number is None:
        log.debug("no idle I/O class on %s", platform.machine())
    elif ctypes.CDLL(None, use_errno=True).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE) != 0:
        log.debug("ioprio_set: %s", os.strerror(ctypes.get_errno()))


def take_at_most(data_bytes: int) -> None:
    """Bound what this process allocates, so that it gets a MemoryError; and let the kernel end it before any other.

    RLIMIT_DATA counts what is private and written to, heap and anonymous mappings. RLIMIT_AS would count libraries,
    mapped files and the unused reserves of threads as well; RLIMIT_RSS does nothing; a cgroup of its own would need
    privileges that the module's container does not have.
    """
    _set_limit(data_bytes)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO), "ascii")


def take_what_there_is() -> None:
    """Lift the bound again; the container's own stays."""
    _set_limit(resource.RLIM_INFINITY)


def _set_limit(data_bytes: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most != resource.RLIM_INFINITY and (data_bytes == resource.RLIM_INFINITY or data_bytes > most):
        data_bytes = most
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, most))


def _calls_of(machine: str, is_64_bit: bool) -> str:
    """Whose numbers of system calls count: a 32-bit program on a 64-bit kernel has those of its own kind."""
    if machine.startswith("arm") or (machine == "aarch64" and not is_64_bit):
        return "arm"
    if machine in ("x86_64", "i386", "i586", "i686") and not is_64_bit:
        return "i386"
    return machine
