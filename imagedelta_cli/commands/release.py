"""Release a set of the policy manual: its manifest goes to the devices."""

from __future__ import annotations

from imagedelta_cli.set_orders import set_order

command = set_order("release", __doc__)
