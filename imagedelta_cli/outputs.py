"""Where a command writes its result, and that nothing of value is lost there.

``-o FILE`` appears complete or not at all. A file that is there asks for ``--force``, and no file that the same command
reads is ever replaced, whatever name it is given by. Links are followed. Pipes and character devices are written into;
``-`` is stdout.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from imagedelta.errors import RequestError
from imagedelta_cli.files import whole_file
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.terminal import give_up_stdout

_Command = TypeVar("_Command", bound=Callable[..., Any])
_STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Output:
    """A place that was judged before the work began."""

    path: Path
    """``-`` for stdout; otherwise without links."""
    replace: bool

    @contextmanager
    def open(self, *, private: bool = False) -> Iterator[BinaryIO]:
        """Yield the stream to write the result to, in order; it cannot be rewound.

        Args:
            private: A new file is for its owner alone.
        """
        if self.path == _STDOUT:
            with when_stopped("What was written to stdout is not whole."):
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
        elif _is_stream(self.path):
            with when_stopped(f"What was written to {self.path} is not whole."), self.path.open("wb") as stream:
                yield stream
        else:
            with whole_file(self.path, replace=self.replace, private=private) as out:
                yield out


def output_options(
    *, required: bool = True, help_text: str = "File to write; it appears complete or not at all. - is stdout."
) -> Callable[[_Command], _Command]:
    """Give a command ``-o`` and ``--force``; it receives ``output``, an Output that is none of its inputs, or None."""

    def decorate(command: _Command) -> _Command:
        @click.option("-o", "--output", required=required, type=click.Path(path_type=Path), help=help_text)
        @click.option("--force", is_flag=True, help="Replace the file of -o if there is one.")
        @functools.wraps(command)
        def run(*args: Any, output: Path | None, force: bool, **kwargs: Any) -> Any:
            judged = _judged(output, force, list(_texts(kwargs.values()))) if output else None
            return command(*args, output=judged, **kwargs)

        return run  # type: ignore[return-value]

    return decorate


def _judged(given: Path, force: bool, inputs: Sequence[str]) -> Output:
    """Before the work, not after it: a result needs a place that takes it.

    Raises:
        RequestError: ``cli.output_exists``, ``cli.output_is_input``, ``cli.output_unfit``.
        OSError: The folder is not there or cannot be written.
    """
    if given == _STDOUT or _is_stdout(given):
        _take_stdout()
        return Output(_STDOUT, replace=False)
    if _is_stream(given):
        return Output(given, replace=False)
    path = Path(os.path.realpath(given))
    _require_folder(path.parent)
    _refuse_inputs(given, path, inputs)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a block device or socket"
        raise RequestError(f"{given} is {kind}", code="cli.output_unfit")
    if path.exists() and not force:
        raise RequestError(f"{given} exists", code="cli.output_exists")
    return Output(path, replace=force)


def _take_stdout() -> None:
    if sys.stdout.isatty():
        raise RequestError("a terminal cannot show the result", code="cli.output_unfit")
    give_up_stdout()


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _refuse_inputs(given: Path, path: Path, inputs: Sequence[str]) -> None:
    """A link, another spelling of the path and a file inside of a layout folder are the input too."""
    layouts = [folder for folder in path.parents if (folder / "oci-layout").is_file()]
    for text in inputs:
        if any(_is_same(text, place) for place in (path, *layouts)):
            raise RequestError(f"{given} is {text}, which the command reads", code="cli.output_is_input")


def _is_same(text: str, place: Path) -> bool:
    """Whether an argument, with or without ``#WHICH``, is the file or folder ``place``."""
    for name in (text, text.rpartition("#")[0]):
        with suppress(OSError, ValueError):
            if name and Path(name).samefile(place):
                return True
    return False


def _is_stdout(path: Path) -> bool:
    """Whether a path is where stdout goes already, such as /dev/stdout."""
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(1))
    return False


def _is_stream(path: Path) -> bool:
    """A pipe or a character device such as /dev/null: bytes written there replace nothing."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _texts(values: Any) -> Iterator[str]:
    """Every text and path among a command's arguments: what may name a file that it reads."""
    for value in values:
        if isinstance(value, str | Path):
            yield str(value)
        elif isinstance(value, tuple):
            yield from _texts(value)
