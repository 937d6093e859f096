"""Bytes that arrived wrong: damaged on the way, or wrong in the outbox?

Nothing in one answer tells. But what a link damages differs from time to time, and what is stored wrongly comes the
same again. So the same wrong bytes, several times in a row, are the outbox's; all else is asked for again, for ever.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

from imagedelta.errors import DependencyError, DigestMismatch

TRIES = 3


class WrongBytes:
    def __init__(self, code: str | None = None) -> None:
        """Args:
        code: Of the refusal; that of DigestMismatch when omitted.
        """
        self._code = code
        self._digest = b""
        self._count = 0

    def note(self, data: bytes, what: str, *, blame: bool = True) -> NoReturn:
        """Count it, and raise: DependencyError ``link.damages`` to ask again, DigestMismatch to give up.

        Args:
            blame: False when our own disk may have spoilt them.
        """
        digest = hashlib.sha256(data).digest()
        if blame:
            self._count = self._count + 1 if digest == self._digest else 1
            self._digest = digest
        if self._count >= TRIES:
            raise DigestMismatch(f"{what}, in the same way {TRIES} times in a row", code=self._code)
        raise DependencyError(what, code="link.damages")

    def forget(self) -> None:
        """They came right."""
        self._count = 0
