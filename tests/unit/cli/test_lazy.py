import subprocess
import sys

import click
import pytest

from imagedelta_cli.lazy import LazyGroup
from imagedelta_cli.main import cli, run


def a_group(tmp_path, monkeypatch, **files: str) -> LazyGroup:
    package = tmp_path / f"commands_{tmp_path.name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, source in files.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return LazyGroup(package=package.name, folder=package, help="Test.")


def test_a_file_in_the_folder_is_a_command(tmp_path, monkeypatch, capsys):
    source = '"""Say hello."""\nimport click\n\n@click.command()\ndef command():\n    click.echo("hello")\n'
    group = a_group(tmp_path, monkeypatch, say_hello=source)

    group.main(["say-hello"], standalone_mode=False)

    assert capsys.readouterr().out == "hello\n"


def test_help_lists_commands_whose_libraries_are_missing(tmp_path, monkeypatch, capsys):
    group = a_group(tmp_path, monkeypatch, host='"""Start it."""\nimport no_such_library\n')

    group.main(["--help"], standalone_mode=False)

    assert "Start it." in capsys.readouterr().out


def test_running_a_command_whose_library_is_missing_names_it(tmp_path, monkeypatch):
    group = a_group(tmp_path, monkeypatch, host="import no_such_library\n")

    with pytest.raises(Exception, match="needs the library no_such_library") as refusal:
        group.main(["host"], standalone_mode=False)

    assert refusal.value.code == "cli.library_missing"


def test_a_command_that_is_not_there_is_wrong_use(tmp_path, monkeypatch):
    with pytest.raises(click.UsageError):
        a_group(tmp_path, monkeypatch).main(["other"], standalone_mode=False)


def test_every_command_has_a_line_of_help(capsys):
    assert run(["--help"]) == 0

    lines = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    described = {line.split()[0] for line in lines if len(line.split()) > 1 and line.startswith("  ")}
    assert set(cli.list_commands(click.Context(cli))) <= described


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert "imagedelta" in capsys.readouterr().out


_WITHOUT_EXTRAS = """
import subprocess
import sys
import click
for library in ("aiohttp", "azure", "cronsim", "docker", "pydantic", "pyodbc", "sqlalchemy", "yaml"):
    sys.modules[library] = None
from imagedelta_cli.main import cli
context = click.Context(cli)
for name in cli.list_commands(context):
    cli.get_command(context, name)
"""


def test_every_command_loads_where_nothing_but_the_command_line_is_installed():
    """As in the container of pipelines; what a command needs of the host it asks for when it does."""
    ran = subprocess.run([sys.executable, "-c", _WITHOUT_EXTRAS], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
