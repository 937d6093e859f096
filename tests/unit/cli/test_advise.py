"""What `imagedelta advise` says of two images."""

import json
import random

import pytest

from imagedelta_cli import exits
from imagedelta_cli.main import run
from tests.images import a_layer, an_image, docker_save
from tests.unit.cli.test_api_commands import host

__all__ = ["host"]


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def pyc(stamp: int) -> bytes:
    return b"\xa7\r\r\n" + bytes(4) + stamp.to_bytes(4, "little") + bytes(4) + b"code" * 30


BASE = {"etc/os": b"demo", "lib/libc.so": noise(9000, 1)}
OLD = an_image(BASE, {"site/m.pyc": pyc(1), "app/main": noise(4000, 2)}, references=("app:1",))
NEW = an_image(
    a_layer(BASE, mtime=1_700_000_000),
    {
        "site/m.pyc": pyc(2),
        "app/main": noise(4000, 2) + b"changed",
        "app/main.pdb": noise(3000, 3),
        "var/lib/apt/lists/debian_Packages": noise(6000, 4),
    },
    {"lib/libc.so": BASE["lib/libc.so"]},
    references=("app:2",),
)


@pytest.fixture
def advice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(OLD))
    (tmp_path / "new.tar").write_bytes(docker_save(NEW))

    assert run(["advise", "old.tar", "new.tar", "--json"]) == 0

    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_files_are_listed_dearest_first_with_what_they_were_made_from(advice):
    files = {file["path"]: file for file in advice["files"]}

    assert [file["path"] for file in advice["files"]][:2] == ["var/lib/apt/lists/debian_Packages", "app/main.pdb"]
    assert files["app/main.pdb"]["bytes"] > 2900
    assert files["app/main"]["bytes"] < 100
    assert (files["app/main"]["from"], files["app/main.pdb"]["from"]) == ("itself", None)


def test_layers_say_what_in_them_is_new(advice):
    assert [(row["rebuilt"], row["same"], row["changed"], row["new"]) for row in advice["layers"]] == [
        (True, 2, 0, 0),
        (True, 1, 1, 2),
        (True, 1, 0, 0),
    ]


@pytest.mark.parametrize(
    ("topic", "example"),
    [
        ("leftovers of the build", "var/lib/apt/lists/debian_Packages"),
        ("debug symbols", "app/main.pdb"),
        ("compiled Python with times", "site/m.pyc"),
        ("layer 1 holds nothing new", "lib/libc.so"),
        ("files that a lower layer has already", "lib/libc.so"),
    ],
)
def test_every_rule_names_its_files(advice, topic, example):
    told = {hint["topic"]: hint for hint in advice["advice"]}

    assert example in told[topic]["examples"]


def test_an_image_against_itself_gives_no_advice(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(OLD))

    assert run(["advise", "old.tar", "old.tar", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["advice"] == []


def test_people_get_tables_and_sentences(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(OLD))
    (tmp_path / "new.tar").write_bytes(docker_save(NEW))

    assert run(["advise", "old.tar", "new.tar"]) == 0

    out = capsys.readouterr().out
    assert "app/main.pdb" in out
    assert "Keep symbols" in out


@pytest.mark.parametrize(("most", "code"), [("100000000", exits.DONE), ("100", exits.OVER_LIMIT)])
def test_an_update_dearer_than_allowed_has_an_exit_code_of_its_own(tmp_path, monkeypatch, capsys, most, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.tar").write_bytes(docker_save(OLD))
    (tmp_path / "new.tar").write_bytes(docker_save(NEW))

    assert run(["advise", "old.tar", "new.tar", "--max-bytes", most, "--json"]) == code

    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    assert (found["overLimit"], found["maxBytes"]) == (code == exits.OVER_LIMIT, int(most))
    assert found["totalBytes"] == sum(layer["bytes"] for layer in found["layers"])
    assert ("cli.over_limit" in err) == found["overLimit"]


def fleet(costs):
    def answer(method, path, body):
        if path.startswith("images?"):
            return {"items": [{"imageId": "sha256:" + "2" * 64}] if "known" in path else [], "next": None}
        return costs

    return answer


COSTS = {
    "imageId": "sha256:" + "2" * 64,
    "references": ["known:2"],
    "fullBytes": 9000,
    "items": [{"imageId": "sha256:" + "1" * 64, "references": ["known:1"], "devices": 7, "estimatedBytes": 500}],
    "devicesNotMeasured": 2,
}


def test_a_fleet_is_measured_by_its_dearest_update(host, capsys):
    host(fleet(COSTS))

    assert run(["advise", "--fleet", "known:2", "--max-bytes", "500"]) == exits.DONE
    said = capsys.readouterr().out
    assert run(["advise", "--fleet", "known:2", "--max-bytes", "499"]) == exits.OVER_LIMIT

    assert "known:1" in said and "2 devices have only versions that could not be looked at." in said


def test_a_fleet_without_another_version_is_within_every_limit(host, capsys):
    host(fleet({**COSTS, "items": [], "devicesNotMeasured": 0}))

    assert run(["advise", "--fleet", "known:2", "--max-bytes", "0"]) == exits.DONE
    assert "nothing to measure against" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["old.tar"], ["old.tar", "new.tar", "--fleet", "a:1"]])
def test_images_are_named_or_the_fleet(arguments):
    assert run(["advise", *arguments]) == exits.USAGE


def test_what_is_not_registered_cannot_be_measured(host, capsys):
    host(fleet(COSTS))

    assert run(["advise", "--fleet", "other:2"]) == exits.REFUSED
    assert "code: cli.not_registered" in capsys.readouterr().err
