"""Lets the app's managed identity into its database: ``python -m database_admit NAME CLIENT_ID``.

Run, once the schema is there, by scripts/azure-database as who administers the database; again it changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from imagedelta.errors import ImageDeltaError
from services.factory import admit_to_database
from services.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m database_admit NAME CLIENT_ID\n")
        return 2
    try:
        admit_to_database(load_settings(), *arguments)
    except ImageDeltaError as error:
        sys.stderr.write(f"{error} ({error.code})\n")
        return 3 if error.retryable else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
