"""The machine that measured, and the version of everything."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.tools import Tool


def describe(tools: list[Tool]) -> dict[str, str]:
    """What belongs beside any figure; names of the machine and its users do not."""
    about = {
        "CPU": _from("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{total_memory_bytes() / 1e9:.0f} GB",
        "system": f"{_from('/etc/os-release', 'PRETTY_NAME', '=')}, Linux {platform.release()}",
        "Python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    for tool in tools:
        if tool.programs or tool.module:
            about[tool.name] = "not installed" if tool.missing() else tool.version()
    about["libraries of imagedelta"] = ", ".join(_libraries())
    return about


def _libraries() -> Iterator[str]:
    """What our command line needs of this environment, with versions."""
    for requirement in importlib.metadata.requires("imagedelta") or ():
        if "extra ==" not in requirement:
            name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
            yield f"{name} {importlib.metadata.version(name)}"


def total_memory_bytes() -> int:
    """Of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def available_memory_bytes() -> int:
    """What can be taken without swapping, as the kernel estimates it."""
    return int(_from("/proc/meminfo", "MemAvailable").split()[0]) * 1024


def _from(path: str, name: str, separator: str = ":") -> str:
    for line in Path(path).read_text("utf-8").splitlines():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip().strip('"')
    return ""
