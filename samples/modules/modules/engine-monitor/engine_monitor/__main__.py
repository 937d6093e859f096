"""Reads degrees Celsius from a file, again and again, and prints a line of JSON whenever there is news."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from engine_monitor.watch import Watch


def main() -> None:
    sensor = Path(os.environ.get("SENSOR", "/sys/class/thermal/thermal_zone0/temp"))
    divisor = float(os.environ.get("DIVISOR", "1000"))
    seconds = float(os.environ.get("SECONDS_BETWEEN", "10"))
    watch = Watch(float(os.environ.get("LIMIT_CELSIUS", "95")))
    while True:
        try:
            news = watch.take(float(sensor.read_text()) / divisor)
        except (OSError, ValueError) as error:
            print(json.dumps({"sensor": str(sensor), "error": str(error)}))
        else:
            if news:
                print(json.dumps({"engine": news, "celsius": round(watch.mean, 1)}))
        time.sleep(seconds)


if __name__ == "__main__":
    main()
