"""What outsiders wrote reaches a terminal as plain text: through one door, and no other is open."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagedelta_cli
from imagedelta.errors import ContentError
from imagedelta.printable import printable
from imagedelta_cli import exits
from imagedelta_cli.terminal import say

PACKAGE = Path(imagedelta_cli.__file__).parent
DOORS = {
    "click.echo",
    "click.secho",
    "echo",
    "print",
    "pprint",
    "traceback.print_exc",
    "sys.stdout.write",
    "sys.stderr.write",
    "Console",
}
HOSTILE = "\x1b[2Jgone\x1b]0;title\x07\r\nError: [bold]app[/bold]\u202etxt.exe\x9b31m"


@given(st.text())
def test_any_text_is_made_one_line_of_visible_characters(text):
    made = printable(text)

    assert made.isprintable()
    assert made == text or not text.isprintable()


def test_a_line_stays_one_and_markup_is_text(capsys):
    say(HOSTILE)

    out = capsys.readouterr().out
    assert out == r"\x1b[2Jgone\x1b]0;title\x07\r\nError: [bold]app[/bold]\u202etxt.exe\x9b31m" + "\n"


def test_errors_speak_through_the_same_door(capsys, monkeypatch):
    monkeypatch.setenv(exits.DEBUG_VARIABLE, "1")
    try:
        raise ContentError(HOSTILE)
    except ContentError as error:
        exits.report(error)

    said = capsys.readouterr().err
    assert "Traceback" in said
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_else_writes_to_the_terminal(path):
    names = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    allowed = {"terminal.py": {"click.echo"}, "output.py": {"Console"}}

    assert names & DOORS <= allowed.get(path.name, set())
