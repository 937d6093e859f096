"""Approve a set that waits because of its cost."""

from __future__ import annotations

from imagedelta_cli.set_orders import set_order

command = set_order("approve", __doc__)
