"""Try a device of a set again that has failed."""

from __future__ import annotations

from imagedelta_cli.set_orders import member_order

command = member_order("retry", __doc__)
