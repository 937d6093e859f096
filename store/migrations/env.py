"""Alembic's environment: runs on the connection that store.migrate gives, or writes SQL offline.

A new revision: change store/kernel/schema.py, then ``python -m store.migrations.revise "what changes"``.
"""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import LargeBinary, String, Unicode, UnicodeText

from store.kernel.schema import metadata
from store.kernel.types import Json, UtcDateTime


def render_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write our own column types by their name in store.types."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime | Json):
        return f"types.{type(item).__name__}()"
    if isinstance(item, UnicodeText):
        return "types.long_text()"
    if isinstance(item, Unicode):
        return f"types.text({item.length})"
    if isinstance(item, String):
        return f"types.key({item.length})"
    return "types.blob()" if isinstance(item, LargeBinary) else False


if context.is_offline_mode():
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        target_metadata=metadata,
        literal_binds=True,
        output_buffer=context.config.output_buffer,
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        compare_type=True,
        render_item=render_type,
        # SQLite can undo schema changes too, once its driver no longer commits behind our back.
        transactional_ddl=True,
    )
with context.begin_transaction():
    context.run_migrations()
