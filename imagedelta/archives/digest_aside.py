"""SHA-256 of a stream on a thread of its own, while the next piece is worked on: half of what reading a layer costs."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor


class DigestAside:
    """Takes pieces in order; at most one is being hashed, so no more than two are in memory."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._running: Future[None] | None = None

    def update(self, data: bytes) -> None:
        """Begin to hash ``data``, which must not change meanwhile; wait for the piece before."""
        self._wait()
        self._running = self._thread.submit(self._hash.update, data)

    def hexdigest(self) -> str:
        """Return the digest of all pieces, 64 hex digits."""
        self._wait()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Let the thread go."""
        self._thread.shutdown()

    def _wait(self) -> None:
        if self._running:
            self._running.result()
            self._running = None
