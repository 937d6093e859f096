"""``python -m tests.any_host URL [--key KEY] …``: tells in plain words what passed; 1 when something failed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.any_host.check import Devices, HostCheck


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    devices = Devices(options.hub, options.device, options.hub_connection, options.trusted)
    return 0 if HostCheck(options.url, options.key, devices, print).run() else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make test-host", description=__doc__)
    parser.add_argument("url", help="of the host, e.g. http://localhost:7071 or https://NAME.azurewebsites.net")
    parser.add_argument("--key", default=os.environ.get("IMAGEDELTA_KEY", ""), help="a function key")
    parser.add_argument("--hub", default="", help="a hub the app knows, for a device that only the app hears of")
    parser.add_argument("--device", default="", help="a device that runs: it gets a tiny image, and no module changes")
    parser.add_argument("--hub-connection", default="", help="of a local hub: then a device is played, too")
    parser.add_argument("--trusted", type=Path, help="public key that the app seals with, for that device")
    return parser


if __name__ == "__main__":
    sys.exit(main())
