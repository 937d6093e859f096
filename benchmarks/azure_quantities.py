"""What a fleet uses of Azure's services in a month: `python -m benchmarks.azure_quantities` prints the table.

docs/costs.md shows it. Derived from what was measured (docs/benchmarks.md, "A fleet of ten thousand"; docs/schema.md,
"Sizes") and from defaults of settings. Prices are given, each with its day and source, in a file whose empty form
`--form` prints and with which `--prices FILE` prints what is to be paid. None stands here (docs/costs.md says why).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

DAYS = 30
IMAGES = 5
"""Of one set, which each device gets each month."""
REPORTS = 4
"""Of one transfer: receiving, received, applying, succeeded."""
HUB_UNIT_A_DAY = 400_000
"""Messages of 4 KB that a unit of S1 takes. Source: azure.microsoft.com/pricing/details/iot-hub, "Total number of
messages/day per IoT Hub unit"; MicrosoftDocs/azure-docs, articles/iot-hub/iot-hub-scaling.md, "Message throughput"."""
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


@dataclass(frozen=True)
class Price:
    """Of ``per`` units of a row, as it was on a day."""

    amount: float
    currency: str
    per: float
    on: date
    source: str

    @classmethod
    def read(cls, stated: Mapping[str, Any]) -> Price:
        """Raises: ValueError, KeyError, TypeError for one without a day, a source, or anything else of it."""
        price = cls(
            float(stated["amount"]),
            str(stated["currency"]),
            float(stated["per"]),
            date.fromisoformat(stated["on"]),
            str(stated["source"]),
        )
        if price.amount < 0 or price.per <= 0 or not (price.currency and price.source):
            raise ValueError("a price is not below 0, of more than 0 units, and has a currency and a source")
        return price

    def of(self, quantity: float) -> float:
        return quantity / self.per * self.amount


def form() -> dict[str, Any]:
    """Of a file of prices: a row without a price is left out of the bill."""
    empty = {"amount": None, "currency": "", "per": 1, "on": "", "source": ""}
    return {row: dict(empty) for row in quantities(1)}


def bill(stated: Mapping[str, Mapping[str, Any]]) -> str:
    """Raises: ValueError, KeyError or TypeError for a price that is not whole, of no row, or in another currency."""
    prices = {row: Price.read(each) for row, each in stated.items() if each["amount"] is not None}
    if unknown := prices.keys() - quantities(1).keys():
        raise ValueError(f"no such row: {', '.join(sorted(unknown))}")
    currencies = {price.currency for price in prices.values()}
    if len(currencies) != 1:
        raise ValueError("the prices are in several currencies, or there are none")
    small, large = quantities(100), quantities(10_000)
    lines = [
        f"| a month, {currencies.pop()} | 100 devices | 10,000 devices | price of | source |",
        "|---|---:|---:|---|---|",
    ]
    for row, price in prices.items():
        lines.append(
            f"| {row} | {price.of(small[row]):,.2f} | {price.of(large[row]):,.2f} | {price.on} | {price.source} |"
        )
    sums = [sum(price.of(each[row]) for row, price in prices.items()) for each in (small, large)]
    lines.append(f"| of {len(prices)} of {len(small)} rows | {sums[0]:,.2f} | {sums[1]:,.2f} | | |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    match list(arguments):
        case []:
            said = table()
        case ["--form"]:
            said = json.dumps(form(), indent=2)
        case ["--prices", file]:
            try:
                said = bill(json.loads(Path(file).read_text("utf-8")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                sys.stderr.write(f"{file}: {type(error).__name__}: {error}\n")
                return 1
        case _:
            sys.stderr.write("usage: python -m benchmarks.azure_quantities [--form | --prices FILE]\n")
            return 2
    sys.stdout.write(said + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
