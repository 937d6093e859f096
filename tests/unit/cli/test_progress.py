"""Bars: which stage goes on, how far it is, and nothing that outsiders' names could do to a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from imagedelta_cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr is one of 80 columns from now on. Called by tests: between fixtures and test pytest sets stderr anew."""
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def refresh() -> None:
    with output._screen.bars() as bars:
        bars.refresh()


def test_each_stage_is_shown_with_what_is_done(monkeypatch) -> None:
    terminal = a_terminal(monkeypatch)

    with output.stages("Planning") as show:
        refresh()
        show("Coding", 1_500_000, 3_000_000)
        refresh()
        show("Packing", 0, 0)
        refresh()

    said = terminal.getvalue()
    told = [said.index(stage) for stage in ("Planning", "Coding", "Packing")]
    assert told == sorted(told)
    assert "1.5 MB of 3.0 MB" in said


def test_a_name_in_a_title_is_neither_markup_nor_an_escape_sequence(monkeypatch) -> None:
    terminal = a_terminal(monkeypatch)

    with output.progress("Reading [red]a\x1b]0;title\x07.tar") as report:
        report(5, 0)
        refresh()

    said = terminal.getvalue()
    assert r"Reading [red]a\x1b]0;title\x07.tar" in said
    assert "\x1b]0;" not in said


def test_a_pipe_gets_no_bars(capsys) -> None:
    with output.progress("Reading a.tar") as report:
        report(1, 2)

    assert capsys.readouterr().err == ""
