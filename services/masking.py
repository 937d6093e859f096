"""Takes what is plainly a secret out of a text that people are shown: what they wrote into a setting comes back in the
message that says what is wrong with it, and messages are logged."""

from __future__ import annotations

import re

_HIDDEN = "***"
_LOGIN = re.compile(r"[^\s/@'\"]*:[^\s/@'\"]+(?=@)")
"""``user:password`` before a host."""
_NAMED = re.compile(r"(?i)(\b(?:sig|signature|sharedaccesskey|accountkey|password|pwd|secret|token|code)=)[^&;\s'\"<]+")


def masked(text: str) -> str:
    return _NAMED.sub(rf"\1{_HIDDEN}", _LOGIN.sub(_HIDDEN, text))
