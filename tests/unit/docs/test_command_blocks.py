"""Command blocks are marked as what they are, and no document names a command that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from imagedelta_cli.main import cli
from tests.doc_blocks import AZURE, DOCUMENTS, README, ROOT, RUN, blocks

SHELLS = re.compile(r"(sh|shell|bash|console|zsh)\b")
NAMED = re.compile(r"(?<![\w./-])imagedelta((?: [a-z]+)+)")
PAGES = [page for page in DOCUMENTS if page.name != "CHANGELOG.md"]
"""The CHANGELOG tells of commands as they were called then."""
TELLING = [page for page in PAGES if page.parent.name != "formats"]
"""Formats quote what is sealed and hashed, which begins with the same word."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_for_a_shell_is_run_or_is_marked_as_one_for_azure(page: Path) -> None:
    allowed = {RUN, AZURE, *(["console"] if page == README else [])}

    assert [one.place for one in blocks(page) if SHELLS.match(one.info) and one.info not in allowed] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page != README], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_is_typed_stands_in_a_block_for_a_shell(page: Path) -> None:
    typed = re.compile(r"^\s*(\$ |(make|python|pip|imagedelta|az|azd|docker|git|curl) [a-z-])", re.MULTILINE)

    assert [one.place for one in blocks(page) if one.info in ("", "text") and typed.search(one.text)] == []


@pytest.mark.parametrize("page", TELLING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_document_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    code = [*(one.text for one in blocks(page)), *re.findall(r"`([^`\n]+)`", text)]

    assert [lost for piece in code for words in NAMED.findall(piece) if (lost := unknown(words.split()))] == []


@pytest.mark.parametrize("page", TELLING, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_document_names_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    code = [*(one.text.replace("\\\n", " ") for one in blocks(page)), *re.findall(r"`([^`\n]+)`", text)]
    calls = [(line, match) for piece in code for line in piece.splitlines() if (match := NAMED.search(line))]

    lost = [
        f"{match[0]} {option}"
        for line, match in calls
        for option in re.findall(r"(?<= )--[a-z-]+", line[match.end() :].partition("#")[0])
        if option not in options(match[1].split())
    ]
    assert lost == []


def options(words: list[str]) -> set[str]:
    """Options of the command that ``imagedelta WORDS`` begins with, and of all."""
    command: click.Command = cli
    found = {"--help", "--version"}
    for word in words:
        inner = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if inner is None:
            break
        command = inner
    return found | {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def unknown(words: list[str]) -> str:
    """What of ``imagedelta WORDS`` the command line does not know."""
    group: click.Command = cli
    for word in words:
        if not isinstance(group, click.Group):
            return ""
        found = group.get_command(click.Context(group), word)
        if found is None:
            return " ".join(words)
        group = found
    return ""


def test_a_command_that_is_gone_is_noticed() -> None:
    assert unknown(["devices", "list"]) == "" and unknown(["devices", "vanish"]) == "devices vanish"
    assert NAMED.findall("imagedelta devices vanish ship-1") == [" devices vanish ship"]


def test_no_document_speaks_of_a_private_package_for_sql() -> None:
    spoken = re.compile(r"private (python )?package|artifact(s)? feed", re.IGNORECASE)

    assert [page.name for page in PAGES if spoken.search(page.read_text("utf-8")) and "0037" not in page.name] == []
