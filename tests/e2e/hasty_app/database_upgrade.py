"""The database is the project's own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from services.factory import upgrade_database
from services.settings import load_settings


def upgrade() -> str:
    return upgrade_database(load_settings())
