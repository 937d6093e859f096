"""``python -m edge_module healthy``: whether the module that runs beside it works, for Docker's health check.

It imports next to nothing, because it is started every two minutes for years on machines with little CPU.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edge_module.heartbeat import ailment, heartbeat_path


def healthy(root: Path) -> int:
    """Say so; exit codes as Docker wants them: 0 healthy, 1 not."""
    problem = ailment(heartbeat_path(root), time.monotonic())
    sys.stdout.write(f"{problem or 'healthy'}\n")
    return 1 if problem else 0


def main() -> int:
    root = os.environ.get("IMAGEDELTA_ROOT", "")
    if not root:
        sys.stdout.write("IMAGEDELTA_ROOT is not set\n")
        return 1
    return healthy(Path(root))
