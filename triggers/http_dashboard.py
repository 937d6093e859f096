"""GET /api/dashboard: one page for people. Anonymous, since it holds nothing: what it shows, its reader's browser asks
of the other endpoints, with a key or a token.

Nothing runs in it but its own script, by the digest in its policy, and it talks to this app alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from services.deps import Deps
from triggers.http import Answer, Request
from triggers.operations import Operation, Resource

PAGE = Path(__file__).with_name("dashboard.html")
HTML = "text/html"


def dashboard(request: Request, deps: Deps) -> Answer:
    page = _page()
    return Answer(200, page, {"Content-Type": HTML, **_headers(page)})


@cache
def _page() -> bytes:
    return PAGE.read_bytes()


@cache
def _headers(page: bytes) -> dict[str, str]:
    script, style = (_digest(page, name) for name in (b"script", b"style"))
    policy = {
        "default-src": "'none'",
        "script-src": script,
        "style-src": style,
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


def _digest(page: bytes, element: bytes) -> str:
    """Of the one inline element of this name, as a policy names it."""
    (content,) = re.findall(b"<%s>(.*?)</%s>" % (element, element), page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


RESOURCES = (
    Resource(
        name="api_dashboard",
        path="dashboard",
        anonymous=True,
        operations=(
            Operation("GET", dashboard, "A page for people, without data of its own.", {200: None}, media_type=HTML),
        ),
    ),
)
