"""docs/capacity.md: hours on thin links, worked out from the bytes that docs/benchmarks.md says.

``python -m benchmarks.capacity`` writes the table of the page anew, after the benchmarks' page has changed.
"""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
TABLE = "**Small image set: bytes over the link**"
LINKS = {"64 kbit/s": 64_000, "256 kbit/s": 256_000, "512 kbit/s": 512_000, "2 Mbit/s": 2_000_000}
BEGIN, END = "<!-- generated: python -m benchmarks.capacity -->\n", "<!-- end -->\n"


def measured(benchmarks: str) -> list[tuple[str, str, int, int]]:
    """(what, size of the image, bytes of our bundle, bytes of the layers that a pull fetches) of each scenario."""
    lines = benchmarks.partition(TABLE)[2].strip().splitlines()
    header = _cells(lines[0])
    ours = next(place for place, name in enumerate(header) if name.startswith("imagedelta"))
    layers = header.index("layers")
    rows = []
    for line in lines[2:]:
        if not line.startswith("|"):
            break
        cells = _cells(line)
        rows.append((cells[0].partition(": ")[2], cells[1], _number(cells[ours]), _number(cells[layers])))
    return rows


def duration(size: int, bits_per_second: int) -> str:
    """As a person says it, rounded up: a link also carries headers and breaks."""
    seconds = -(-size * 8 // bits_per_second)
    if seconds < 60:
        return f"{max(seconds, 1)} s"
    minutes = -(-seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def table(benchmarks: str) -> str:
    """The generated part of the page: each cell is "ours / a pull of layers"."""
    rows = [f"| what is sent | image | bytes | {' | '.join(LINKS)} |", f"|---|---:|---:|{'---:|' * len(LINKS)}"]
    for what, image, ours, layers in measured(benchmarks):
        times = (f"{duration(ours, rate)} / {duration(layers, rate)}" for rate in LINKS.values())
        rows.append(f"| {what} | {image} | {ours:,} / {layers:,} | {' | '.join(times)} |")
    return "\n".join(rows) + "\n"


def page(text: str, benchmarks: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(benchmarks) + END + rest.partition(END)[2]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def _number(cell: str) -> int:
    return int(cell.strip("*").replace(",", ""))


if __name__ == "__main__":
    target = DOCS / "capacity.md"
    target.write_text(page(target.read_text("utf-8"), (DOCS / "benchmarks.md").read_text("utf-8")), "utf-8")
