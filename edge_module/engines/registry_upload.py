"""Sending a layer whose end is not known yet: in pieces, each acknowledged, going on after a broken connection."""

from __future__ import annotations

from collections.abc import Callable

from edge_module.engines.registry_client import RegistryClient
from imagedelta.errors import DependencyError
from imagedelta.limits import MIB

PIECE_BYTES = 4 * MIB
"""Each piece costs the registry an fsync, and this process its memory."""
_TRIES = 5


class LayerUpload:
    """One upload, sent front to back; the registry hears of it with the first piece."""

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        note: Callable[[str], None] = lambda _: None,
        dropped: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Args:
        note: Told where the upload is, whenever that changes, since distribution drops it only under its last place;
            "" when it has ended.
        dropped: Told the place of an upload that the registry did not drop when asked to.
        """
        self._client = client
        self._repository = repository
        self._piece = bytearray()
        self._sent = 0
        self._place = ""
        self._note = note
        self._dropped = dropped

    def write(self, data: bytes, /) -> int:
        """Raises: DependencyError when the registry has lost what it had; the layer has to be made again."""
        self._piece += data
        if len(self._piece) >= PIECE_BYTES:
            self._send()
        return len(data)

    def finish(self, digest: str) -> None:
        self._send()
        self._client.finish_upload(self._place, digest)
        self._move("")

    def cancel(self) -> None:
        if self._place and not self._client.cancel_upload(self._place):
            self._dropped(self._place)
        self._move("")

    def _send(self) -> None:
        """Rule: after a failure the registry is asked what arrived, and only the rest is sent."""
        for left in reversed(range(_TRIES)):
            try:
                if not self._place:
                    self._move(self._client.start_upload(self._repository))
                if self._piece:
                    self._move(self._client.append_upload(self._place, self._sent, self._piece))
                    self._forget(len(self._piece))
                return
            except DependencyError as error:
                if not left or error.code != "registry.down" or not self._goes_on():
                    raise

    def _goes_on(self) -> bool:
        """Learn how far the registry got; distribution 2 drops an upload that was cut inside a piece.

        Then there is no going on, unless it was the first one: all of the layer is still here.
        """
        state = self._client.upload_state(self._place) if self._place else None
        if state is None:
            self.cancel()
            return not self._sent
        arrived, place = state
        self._move(place)
        if not self._sent <= arrived <= self._sent + len(self._piece):
            return False
        self._forget(arrived - self._sent)
        return True

    def _forget(self, count: int) -> None:
        del self._piece[:count]
        self._sent += count

    def _move(self, place: str) -> None:
        self._place = place
        self._note(place)


def put_blob(
    client: RegistryClient, repository: str, digest: str, data: bytes, note: Callable[[str], None] = lambda _: None
) -> None:
    """Send a small blob."""
    upload = LayerUpload(client, repository, note)
    upload.write(data)
    upload.finish(digest)
