"""Write the next revision from the difference between store/kernel/schema.py and the revisions before.

Usage: python -m store.migrations.revise "what changes"
"""

from __future__ import annotations

import sys
import tempfile

from alembic import command

from store.kernel.engine import Database
from store.kernel.migrate import alembic_config, migrate


def revise(message: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/before.db")
        config = alembic_config()
        if any(config_revisions()):
            migrate(database)
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=f"{len(config_revisions()) + 1:04}")
        database.close()


def config_revisions() -> list[str]:
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()]


if __name__ == "__main__":
    revise(sys.argv[1])
