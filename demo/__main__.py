"""``python -m demo``: run the demo; exit code 0 only if everything held, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import httpx
from rich.console import Console

from demo.azurite import AzuriteMissing
from demo.cloud import CommandFailed, NotReady
from demo.processes import ProcessEnded
from demo.progress import Show
from demo.run import Demo
from demo.watch import TookTooLong
from demo.wheels import WheelsUnavailable
from demo.workspace import FolderNotOurs, Workspace, default_workspace
from imagedelta.errors import DependencyError

_HELD, _FAILED, _INTERRUPTED = 0, 1, 130
_EXPECTED = (
    FolderNotOurs,
    WheelsUnavailable,
    AzuriteMissing,
    ProcessEnded,
    CommandFailed,
    NotReady,
    TookTooLong,
    httpx.HTTPError,
    DependencyError,
    OSError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo in its folder and return the exit code."""
    options = _parser().parse_args(arguments)
    workspace = Workspace(options.folder.resolve(), options.downloads.resolve())
    console = Console(soft_wrap=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job is started with SIGINT ignored
        signal.signal(number, _interrupt)
    try:
        with workspace.start_clean(), ExitStack() as stack:
            return _HELD if Demo(workspace, Show(console), stack, options.azurite).run() else _FAILED
    except KeyboardInterrupt:
        console.print("\nInterrupted; no process is left.")
        return _INTERRUPTED
    except _EXPECTED as error:
        console.print(f"\n[bold red]The demo stopped:[/bold red] {error}", markup=True, highlight=False)
        console.print(f"Logs of every process are in {workspace.logs}")
        return _FAILED


def _parser() -> argparse.ArgumentParser:
    default = default_workspace()
    parser = argparse.ArgumentParser(prog="python -m demo", description="Run the main job on real images.")
    parser.add_argument("--folder", type=Path, default=default.root, help="Everything of the run; emptied at start.")
    parser.add_argument("--downloads", type=Path, default=default.downloads, help="Packages, kept between runs.")
    parser.add_argument("--azurite", action="store_true", help="Keep blobs in Azurite instead of a folder.")
    return parser


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
