"""A module that reads no patch profile with WITHOUT in its name: ``python -m tests.e2e.lesser_module WITHOUT run``."""

from __future__ import annotations

import sys

from imagedelta.delta.format.profiles import PROFILES

without = sys.argv.pop(1)
for name in [name for name in PROFILES if without in name]:
    del PROFILES[name]

from edge_module.main import main  # noqa: E402 - what it lists is taken from the profiles that are left

sys.exit(main())
