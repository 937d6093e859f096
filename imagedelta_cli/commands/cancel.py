"""Cancel a set; bundles that no other set needs are withdrawn."""

from __future__ import annotations

from imagedelta_cli.set_orders import set_order

command = set_order("cancel", __doc__, loses="Its bundles are withdrawn, and it cannot be taken up again.")
