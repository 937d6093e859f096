"""docs/cli.md names every command, option, exit code and JSON field there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from imagedelta_cli import exits
from imagedelta_cli.main import cli, run
from tests.images import an_image, docker_save

TEXT = (Path(__file__).parents[3] / "docs/cli.md").read_text("utf-8")
IMAGE = an_image({"a": b"1" * 5000}, references=("app:1",))


def commands(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        elif command:
            yield f"{before}{name}", command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_is_documented(name):
    assert f"`{name}" in TEXT, name
    options = {max(p.opts, key=len) for p in ALL[name].params if isinstance(p, click.Option)} - {"--help"}
    assert {option for option in options if f"`{option}" not in TEXT} == set()


def test_every_exit_code_is_documented():
    rows = [
        line.split("|")[1].strip()
        for line in TEXT.partition("## Exit codes")[2].partition("\n## ")[0].splitlines()[3:]
        if line.startswith("|")
    ]

    assert rows == [str(code) for code in exits.ALL]


def test_every_field_of_the_json_is_documented(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "i.tar").write_bytes(docker_save(IMAGE))
    asked = (
        ["diff", "i.tar", "-o", "b"],
        ["apply", "b", "-o", "o"],
        ["sign", "i.tar", "-o", "s"],
        ["keys", "new", "k"],
    )
    asked += (["rank", "i.tar", "s"], ["doctor"], *(["verify", name] for name in ("b", "i.tar")))
    fields = set()
    for arguments in [*asked, *(["inspect", name] for name in ("b", "i.tar", "s"))]:
        capsys.readouterr()
        run([*arguments, "--json"])
        fields |= set(json.loads(capsys.readouterr().out.splitlines()[-1]))

    assert {field for field in fields if f"`{field}`" not in TEXT} == set()
