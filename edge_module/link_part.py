"""The part that fetches: it lists the outbox container when that is due, and downloads about a second at a time."""

from __future__ import annotations

from collections.abc import Callable

from contracts.messages import DesiredProperties, OutboxAccess, PatchAccess
from edge_module.brake import Brake
from edge_module.bundle_source import OpenContainer, Shore
from edge_module.downloader import Downloader
from edge_module.parts import Guard
from edge_module.troubles import Troubles
from edge_module.twin import DesiredState

_IDLE_SECONDS = 0.5
_MOST_LIST_PAUSE = 60.0
_Access = tuple[OutboxAccess, PatchAccess | None]


class LinkPart:
    name = "link"

    def __init__(
        self,
        downloader: Downloader,
        desired: DesiredState,
        brake: Brake,
        open_container: OpenContainer,
        troubles: Troubles,
        poll_seconds: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        """Args:
        poll_seconds: Outweighs the desired property pollEverySeconds.
        """
        self._downloader = downloader
        self._desired = desired
        self._brake = brake
        self._open_container = open_container
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._guard = Guard("link", troubles, monotonic)
        self._list_guard = Guard("outbox container", troubles, monotonic)
        self._access: _Access | None = None
        self._shore: Shore | None = None
        self._listed: _Access | None = None
        """What gave access to the container that was listed last."""
        self._next_list = 0.0

    @property
    def is_idle(self) -> bool:
        """Everything that the outbox is known to hold has been fetched."""
        desired = self._desired.current
        if self._brake.is_on or desired.outbox is None:
            return True
        return self._listed == _access(desired) and self._downloader.waiting == 0

    def images_named(self) -> set[str] | None:
        """Targets and sources of all bundles still to be fetched; None while they are not all known."""
        desired = self._desired.current
        if desired.outbox is None:
            return set()
        return self._downloader.images_named() if self._listed == _access(desired) else None

    def step(self) -> float:
        return self._guard.step(self._step)

    def stop(self) -> None:
        self._downloader.pause()

    def _step(self) -> float:
        desired = self._desired.current
        if self._brake.is_on:
            self._downloader.pause()
            return _IDLE_SECONDS
        shore = self._open_shore(desired)
        if shore is None:
            return _IDLE_SECONDS
        self._list(shore, desired)
        return self._downloader.step(shore, desired)

    def _open_shore(self, desired: DesiredProperties) -> Shore | None:
        """Opened anew when the twin has brought another access; then it is listed at once."""
        access = _access(desired)
        if access != self._access:
            self._access = access
            self._shore = Shore(self._open_container, *access) if access else None
            self._next_list = 0.0
            self._list_guard.hurry()
        return self._shore

    def _list(self, shore: Shore, desired: DesiredProperties) -> None:
        if self._monotonic() < self._next_list:
            return
        given, every = self._poll_seconds, desired.poll_every_seconds
        pause = float(every) if given is None else given
        if self._list_guard.run(lambda: self._downloader.refresh(shore), min(pause, _MOST_LIST_PAUSE)):
            self._listed = self._access
            self._next_list = self._monotonic() + pause


def _access(desired: DesiredProperties) -> _Access | None:
    return (desired.outbox, desired.patches) if desired.outbox else None
