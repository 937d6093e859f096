"""SVG without a library: what the pictures are drawn with. They follow the reader's light or dark setting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
_STYLE = (
    "svg{font:12px system-ui,sans-serif}.back{fill:#fff}.text{fill:#1c1c1c}.dim{fill:#5a5a5a}.grid{stroke:#ddd}"
    "@media(prefers-color-scheme:dark){.back{fill:#16181c}.text{fill:#ececec}.dim{fill:#a9adb5}.grid{stroke:#363a42}}"
)


@dataclass(frozen=True)
class LogScale:
    """Values above 0 to pixels, from whole power of ten to whole power of ten."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> LogScale:
        """A scale that holds all values."""
        logs = [math.log10(value) for value in values]
        low, high = math.floor(min(logs)), math.ceil(max(logs))
        return cls(low, max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        """Where a value lies."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """The powers of ten."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def number(value: float) -> str:
    """Short: 0.01, 3.2, 25, 1k, 2M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def dot(x: float, y: float, radius: float, colour: str, title: str) -> str:
    """A dot whose title shows when it is pointed at."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.9">'
        f"<title>{escape(title)}</title></circle>"
    )


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    """A faint line of the grid."""
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(x: float, y: float, content: str, style: str, anchor: str = "start", weight: int = 400) -> str:
    """Words; ``style`` is ``text`` or ``dim``, ``anchor`` start, middle or end."""
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(content)}</text>"
    )


def document(height: float, title: str, body: Sequence[str]) -> str:
    """A whole picture of ``WIDTH`` by ``height``."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<rect class="back" width="{WIDTH}" height="{height:.0f}" rx="6"/>{"".join(body)}</svg>\n'
    )
