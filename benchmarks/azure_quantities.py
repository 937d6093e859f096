"""What a fleet uses of Azure's services in a month: `python -m benchmarks.azure_quantities` prints the table.

docs/costs.md shows it. Derived from what was measured (docs/benchmarks.md, "A fleet of ten thousand"; docs/schema.md,
"Sizes") and from defaults of settings. Not here: prices (docs/costs.md says why).
"""

from __future__ import annotations

import math
import sys

DAYS = 30
IMAGES = 5
"""Of one set, which each device gets each month."""
REPORTS = 4
"""Of one transfer: receiving, received, applying, succeeded."""
HUB_UNIT_A_DAY = 400_000
"""Messages of 4 KB that a unit of S1 takes. Source: learn.microsoft.com, "IoT Hub quotas and throttling"."""
PIECES_OF_AN_INVENTORY = 2
"""Of 4 KB, gzipped: assumed, it grows with the images on a device."""
INSTANCE_GB = 2
RENEWALS = DAYS / 3.5
"""Of grants by user delegation, at half of their life (docs/adr/0026)."""
POLLS = DAYS * 86_400 // 60
"""Of a device whose link is always up (`pollEverySeconds`)."""
CPU_MS = {"plan": 1.8, "publish": 0.98, "report": 0.19, "release": 23.5, "confirm": 0.49, "twin": 6.1}
STATEMENTS = {"plan": 0.4, "publish": 0.2, "report": 0.1, "release": 62.5, "confirm": 0.6, "twin": 14.2}
TICK_STATEMENTS = 19.4
TIMER, RETENTION = DAYS * 1440, DAYS * 24
"""Calls of the timers by their default schedules."""
DATABASE_BYTES = 393_000
"""Kept for a device once retention has set in."""


def _items() -> dict[str, float]:
    """How often a device has each step done in a month."""
    return {
        "plan": 1,
        "publish": IMAGES,
        "report": IMAGES * REPORTS,
        "release": 1,
        "confirm": 1,
        "twin": RENEWALS,
    }


def quantities(devices: int) -> dict[str, float]:
    items = _items()
    messages = devices * (items["report"] + (DAYS + 1) * PIECES_OF_AN_INVENTORY)
    busiest = devices * (items["report"] + 2 * PIECES_OF_AN_INVENTORY)
    calls = TIMER + RETENTION + devices * (items["report"] + DAYS + 1)
    work = devices * sum(CPU_MS[step] * times for step, times in items.items()) / 1000
    asked = devices * sum(STATEMENTS[step] * times for step, times in items.items())
    return {
        "IoT Hub: messages of 4 KB": messages,
        "IoT Hub: units of S1, all devices updated on one day": math.ceil(busiest / HUB_UNIT_A_DAY),
        "Functions: executions of timers": TIMER + RETENTION,
        "Functions: executions at most (each message by itself)": calls,
        "Functions: GB-s of timers, a second each": (TIMER + RETENTION) * INSTANCE_GB,
        "Functions: GB-s of our own CPU for devices": work * INSTANCE_GB,
        "SQL: statements": asked + TIMER * TICK_STATEMENTS,
        "SQL: GB kept": devices * DATABASE_BYTES / 1e9,
        "Blob storage: lists, links always up": devices * POLLS,
        "Blob storage: bundles fetched": devices * IMAGES,
        "Egress: GB for each MB of a bundle": devices * IMAGES / 1000,
    }


def table() -> str:
    small, large = quantities(100), quantities(10_000)
    lines = ["| a month | 100 devices | 10,000 devices |", "|---|---:|---:|"]
    lines += [f"| {what} | {_figure(value)} | {_figure(large[what])} |" for what, value in small.items()]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
