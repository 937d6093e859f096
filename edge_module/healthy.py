"""``python -m edge_module healthy``: whether the module beside it works, for Docker's health check.

It imports next to nothing, because it is started every two minutes for years on machines with little CPU.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edge_module.heartbeat import ailment, heartbeat_path


def main() -> int:
    """Exit codes as Docker wants them: 0 healthy, 1 not."""
    root = os.environ.get("IMAGEDELTA_ROOT", "")
    problem = ailment(heartbeat_path(Path(root)), time.monotonic()) if root else "IMAGEDELTA_ROOT is not set"
    sys.stdout.write(f"{problem or 'healthy'}\n")
    return 1 if problem else 0
