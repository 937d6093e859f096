"""a platform stated at registration; further platforms that a device states."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from store import types

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("registrations", sa.Column("platform", types.key(64)))
    op.add_column("devices", sa.Column("also_runs", types.Json(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("devices", "also_runs", mssql_drop_default=True)
    op.drop_column("registrations", "platform")
