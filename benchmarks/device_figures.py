"""What an update costs a device, as figures beside those of a docker pull; and how servers' logs tell some of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.tables import Table

_ACCESS = re.compile(rb'^\S+ - \S+ \[[^\]]+\] "([A-Z]+) [^"]*" (\d{3}) (\d+) ', re.MULTILINE)
"""Of docker-registry: one line for each request, with the bytes of the answer's body."""
_CALL = re.compile(rb'msg="Calling [A-Z]+ ', re.MULTILINE)
"""Of dockerd with --debug: one line for each request."""
_NONE = "–"
_LINK = ("link, bytes", ": pull")
_DISK = ("written, MB", ": pull", "disk at most, MB", ": pull", "disk kept, MB")
_HEADER = ("", "s", ": pull", *_LINK, "requests", "memory, MB", *_DISK)


@dataclass(frozen=True)
class Traffic:
    """What two servers were asked meanwhile, as they logged it."""

    requests: int
    registry_bytes: int
    """Of all answers' bodies of the registry."""


@dataclass(frozen=True)
class DeviceFigure:
    """One update, from the bundle in the inbox (or the word ``docker pull``) until the image is whole and named."""

    name: str
    seconds: float
    requests: int
    """To registry and daemon, from whomever."""
    link_bytes: int
    """The bundle; of docker pull what it fetches, which would cross the link if the registry were ashore."""
    written_bytes: int
    """By the rebuild, the registry and the daemon."""
    peak_disk_bytes: int
    """At the highest above the start, bundle excluded."""
    kept_disk_bytes: int
    """Above the start when it was done."""
    memory_bytes: int | None
    """The most that the rebuild's process had resident; None: there is none."""


def traffic(registry_log: bytes, daemon_log: bytes) -> Traffic:
    """Read what the logs gained while something was done."""
    answers = _ACCESS.findall(registry_log)
    asked = len(answers) + len(_CALL.findall(daemon_log))
    return Traffic(asked, sum(int(size) for method, _, size in answers if method == b"GET"))


def document(figure: DeviceFigure, pull: DeviceFigure) -> dict[str, Any]:
    """For machines; ratios are this one's for each of docker pull."""
    ratios = {
        "secondsRatio": ratio(figure.seconds, pull.seconds),
        "linkRatio": ratio(figure.link_bytes, pull.link_bytes),
        "writtenRatio": ratio(figure.written_bytes, pull.written_bytes),
        "peakDiskRatio": ratio(figure.peak_disk_bytes, pull.peak_disk_bytes),
    }
    return {_camel(name): value for name, value in asdict(figure).items()} | ratios


def ratio(ours: float, pull: float) -> float | None:
    """None where docker pull took nothing."""
    return round(ours / pull, 6) if pull else None


def table(title: str, figures: Sequence[DeviceFigure], pull: DeviceFigure) -> Table:
    """For people, docker pull first."""
    return Table(title, _HEADER, tuple(_row(each, pull) for each in (pull, *figures)))


def _row(figure: DeviceFigure, pull: DeviceFigure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.seconds:,.1f}",
        _ratio(figure.seconds, pull.seconds, 1),
        f"{figure.link_bytes:,}",
        _ratio(figure.link_bytes, pull.link_bytes, 4),
        f"{figure.requests:,}",
        _NONE if figure.memory_bytes is None else _mb(figure.memory_bytes, 0),
        _mb(figure.written_bytes),
        _ratio(figure.written_bytes, pull.written_bytes, 1),
        _mb(figure.peak_disk_bytes),
        _ratio(figure.peak_disk_bytes, pull.peak_disk_bytes, 1),
        _mb(figure.kept_disk_bytes),
    )


def _ratio(ours: float, pull: float, digits: int) -> str:
    found = ratio(ours, pull)
    return _NONE if found is None else f"{found:,.{digits}f}"


def _mb(size: int, digits: int = 1) -> str:
    return f"{size / 1e6:,.{digits}f}"


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
