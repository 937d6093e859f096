"""How the demo writes numbers for people."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes in decimal units: ``35 kB``, ``9.61 MB``, ``121 MB``; never more than three digits."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * scale:
            return f"{_three_digits(count / scale)} {unit}"
    return f"{count:.0f} B"


def share(part: float) -> str:
    """A fraction as per cent, with digits where small values need them: ``0.031 %``, ``5.4 %``, ``31 %``."""
    percent = part * 100
    digits = 3 if percent < 0.1 else 2 if percent < 1 else 1 if percent < 10 else 0
    return f"{percent:.{digits}f} %"


def duration(seconds: float) -> str:
    """``48 s`` or ``2 min 41 s``."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def times(count: int) -> str:
    """``never``, ``once``, ``5 times``."""
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def short_id(digest: str) -> str:
    """The first 12 hex digits of a digest."""
    return digest.removeprefix("sha256:")[:12]


def _three_digits(value: float) -> str:
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def short_image(image: str) -> str:
    """An image as a manifest names it, a digest cut to its first 12 digits."""
    name, at, digest = image.partition("@")
    return f"{name}@sha256:{short_id(digest)}…" if at else image
