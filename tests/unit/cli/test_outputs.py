"""``-o`` never destroys: what is there stays, whatever it is called, until --force says otherwise."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imagedelta.bundles import read_bundle
from imagedelta_cli import exits
from imagedelta_cli.files import whole_file
from imagedelta_cli.main import run
from tests.images import an_image, docker_save, oci_files

OLD = an_image({"app/a": b"1" * 5000}, references=("app:1",))
NEW = an_image({"app/a": b"1" * 5000 + b"2"}, references=("app:2",))
DIFF = ["diff", "new.tar", "--source", "old.tar", "-o"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with two archives, a layout folder, a key pair and a bundle."""
    monkeypatch.chdir(tmp_path)
    Path("old.tar").write_bytes(docker_save(OLD))
    Path("new.tar").write_bytes(docker_save(NEW))
    for name, content in oci_files(NEW).items():
        path = Path("layout") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert run(["keys", "new", "key"]) == 0
    assert run([*DIFF, "b.bundle", "--key", "key"]) == 0
    Path("soft").symlink_to("new.tar")
    Path("hard").hardlink_to("new.tar")
    Path("sub").mkdir()
    return tmp_path


@pytest.fixture
def snapshot(folder):
    """What every file holds: call it to see whether anything changed."""

    def look() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

    return look


INPUTS = ["new.tar", "./new.tar", "sub/../new.tar", "soft", "hard", "old.tar", "key"]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("name", INPUTS)
def test_no_file_that_the_command_reads_is_replaced_by_whatever_name(snapshot, capsys, name, force):
    before = snapshot()

    assert run([*DIFF, name, "--key", "key", *force]) == exits.REFUSED

    assert "cli.output_is_input" in capsys.readouterr().err
    assert snapshot() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply", "b.bundle", "--source", "old.tar", "-o", "b.bundle"],
        ["apply", "b.bundle", "--source", "old.tar", "--trust", "key.pub", "-o", "key.pub"],
        ["sign", "new.tar#app:2", "-o", "new.tar"],
        ["sign", "layout", "-o", "layout/index.json"],
        ["sign", "layout", "-o", "layout/blobs/sha256/new"],
    ],
)
def test_this_holds_for_every_command_and_kind_of_input(snapshot, capsys, arguments):
    before = snapshot()

    assert run([*arguments, "--force"]) == exits.REFUSED

    assert "cli.output_is_input" in capsys.readouterr().err
    assert snapshot() == before


def test_a_file_that_is_there_asks_for_force(snapshot, capsys):
    Path("there").write_bytes(b"precious")
    Path("there").chmod(0o640)
    Path("link").symlink_to("there")
    before = snapshot()

    assert run([*DIFF, "link"]) == exits.REFUSED
    assert "code: cli.output_exists" in capsys.readouterr().err
    assert snapshot() == before

    assert run([*DIFF, "link", "--force"]) == exits.DONE
    assert Path("link").is_symlink()
    assert Path("there").read_bytes().startswith(b"PK")
    assert Path("there").stat().st_mode & 0o777 == 0o640


def test_a_file_that_came_while_the_command_worked_is_kept_too(tmp_path, capsys):
    path = tmp_path / "out"

    with pytest.raises(Exception, match="exists"), whole_file(path, replace=False) as out:
        out.write(b"ours")
        path.write_bytes(b"theirs")

    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("out", b"theirs")]


def test_a_file_of_the_temporary_name_of_old_is_left_alone(folder):
    Path("new.bundle.part").write_bytes(b"precious")

    assert run([*DIFF, "new.bundle"]) == exits.DONE

    assert Path("new.bundle.part").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["n" * 255, "船" * 85, "\udcff"])
def test_any_name_that_the_file_system_takes_is_written(folder, name):
    assert run([*DIFF, name]) == exits.DONE

    assert Path(name).read_bytes().startswith(b"PK")


def test_a_device_that_is_full_is_told_plainly(folder, capsys):
    assert run([*DIFF, "/dev/full"]) == exits.REFUSED

    assert "No space left on device" in capsys.readouterr().err


def test_a_folder_without_hard_links_takes_results_too(folder, monkeypatch):
    def unable(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", unable)

    assert run([*DIFF, "fat.bundle"]) == exits.DONE
    assert run([*DIFF, "fat.bundle"]) == exits.REFUSED
    assert [path.name for path in Path.cwd().glob(".*")] == []


@pytest.mark.parametrize("name", ["sub", "socket"])
def test_what_is_no_file_is_refused_and_stays(folder, capsys, name):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("socket")

    assert run([*DIFF, name, "--force"]) == exits.REFUSED

    listener.close()
    assert "code: cli.output_unfit" in capsys.readouterr().err
    assert Path("sub").is_dir()
    assert Path("socket").is_socket()


def test_a_pipe_is_written_into(folder):
    os.mkfifo("pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()))
    reader.start()

    assert run([*DIFF, "pipe", "--key", "key"]) == exits.DONE

    reader.join()
    assert Path("pipe").is_fifo()
    assert got == [Path("b.bundle").read_bytes()]


def test_a_device_is_written_into_and_stays_one(folder):
    assert run([*DIFF, "/dev/null"]) == exits.DONE

    assert Path("/dev/null").is_char_device()


def test_where_stdout_goes_already_is_stdout(folder):
    """In a process of its own: a shell has opened the file."""
    with Path("redirected").open("wb") as stdout:
        command = [sys.executable, "-m", "imagedelta_cli.main", *DIFF, "/dev/stdout", "--key", "key"]
        environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=environment, check=False)

    assert done.returncode == exits.DONE, done.stderr
    assert b"targetImageId" in done.stderr
    assert Path("redirected").read_bytes() == Path("b.bundle").read_bytes()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_dash_is_stdout_and_what_is_said_goes_to_stderr(folder, capsysbinary, options):
    assert run([*DIFF, "-", "--key", "key", *options]) == exits.DONE

    out, err = capsysbinary.readouterr()
    assert out == Path("b.bundle").read_bytes()
    assert read_bundle(io.BytesIO(out), None).head.reference == "app:2"
    assert b"targetImageId" in err
    assert not options or json.loads(err.splitlines()[-1])["bundleBytes"] == len(out)
    assert not Path("-").exists()


def test_a_terminal_is_spared_the_bytes(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert run([*DIFF, "-"]) == exits.REFUSED

    assert "a terminal cannot show the result" in capsys.readouterr().err
