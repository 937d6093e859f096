"""What libraries log of requests: nothing below a warning.

Azure's worker passes on everything from INFO on, and the lines of HTTP clients hold whole addresses: of a webhook,
whose path is its secret, or of a blob with what opens it. Their lines at DEBUG hold headers.
"""

from __future__ import annotations

import logging

_NAMES = (
    "alembic",
    "azure.core",
    "azure.identity",
    "azure.iot",
    "azure.keyvault",
    "azure.monitor",
    "azure.storage",
    "httpcore",
    "httpx",
    "msal",
    "msrest",
    "opentelemetry",
    "requests",
    "sqlalchemy",
    "uamqp",
    "urllib3",
)


def quiet_libraries() -> None:
    for name in _NAMES:
        logging.getLogger(name).setLevel(logging.WARNING)
