"""Route templates as ASP.NET reads them, and the keys that open functions."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from imagedelta_host.errors import AppInvalid, StateDamaged
from imagedelta_host.keys import HostKeys, opens
from imagedelta_host.route_templates import RouteTemplate


@pytest.mark.parametrize(
    ("template", "path", "parameters"),
    [
        ("api/devices/{id}", "api/devices/a%20b", {"id": "a b"}),
        ("api/devices/{id}", "API/Devices/x", {"id": "x"}),
        ("api/devices/{id}", "api/devices/a/b", None),
        ("api/devices/{id}", "api/devices", None),
        ("api/{id:int}/x", "api/12/x", {"id": "12"}),
        ("api/{id:int}/x", "api/twelve/x", None),
        ("api/list/{page?}", "api/list", {}),
        ("api/list/{page?}", "api/list/2", {"page": "2"}),
        ("api/list/{page=1}", "api/list", {"page": "1"}),
        ("files/{*path}", "files/a/b/c.txt", {"path": "a/b/c.txt"}),
        ("files/{*path}", "files", {}),
        ("{*path}", "", {}),
        ("{**path}", "a//b", {"path": "a//b"}),
        ("files/{*path=index.html}", "files", {"path": "index.html"}),
        ("api/{id:int:min(1)}", "api/7", {"id": "7"}),
        ("api/{id:int:min(1)}", "api/0", None),
        ("api/{id:int:min(1)}", "api/9999999999", None),
        ("api/{id:long:range(5,10000000000)}", "api/9999999999", {"id": "9999999999"}),
        ("api/{id:max(-3)}", "api/-3", {"id": "-3"}),
        ("api/{name:alpha:length(2,4)}", "api/abc", {"name": "abc"}),
        ("api/{name:alpha:length(2,4)}", "api/abcde", None),
        ("api/{name:length(3)}", "api/ab", None),
        ("api/{name:minlength(2):maxlength(3)}", "api/ж%C3%A9", {"name": "жé"}),
        ("api/{day:datetime}", "api/2026-01-31", {"day": "2026-01-31"}),
        ("api/{day:datetime}", "api/2026-02-30", None),
        ("api/{x:decimal}/{y:double}/{b:bool}", "api/1.5/-2e3/TRUE", {"x": "1.5", "y": "-2e3", "b": "TRUE"}),
        (r"api/{ssn:regex(^\d{{3}}-\d{{2}}$)}", "api/123-45", {"ssn": "123-45"}),
        (r"api/{ssn:regex(^\d{{3}}-\d{{2}}$)}", "api/1234-5", None),
        ("api/{path:regex(^(a|b):c/?$)}", "api/a:c", {"path": "a:c"}),
        ("api/{page:int=1}/{size:int=20}", "api", {"page": "1", "size": "20"}),
        ("api/{page:int=1}/{size:int=20}", "api/3", {"page": "3", "size": "20"}),
        ("api/{page:int?}", "api", {}),
        ("api/{page:int?}", "api/x", None),
        ("api/{area=main}/list", "api/x/list", {"area": "x"}),
        ("api/{area=main}/list", "api/list", None),
        ("api/{file}.{ext?}", "api/a.b.c", {"file": "a.b", "ext": "c"}),
        ("api/{file}.{ext?}", "api/readme", {"file": "readme"}),
        ("api/readme.{ext?}", "api/readme", {}),
        ("api/readme.{ext?}", "api/README.md", {"ext": "md"}),
        ("api/{from}-{to}", "api/a-b-c", {"from": "a-b", "to": "c"}),
        ("api/{{x}}/{y}", "api/%7Bx%7D/1", {"y": "1"}),
        ("größe/{x}", "gr%C3%B6%C3%9Fe/1", {"x": "1"}),
        ("api/{{x}}/{y}", "api/{x}/1", {"y": "1"}),
        ("api/{id}", "api/a%2Fb%20c", {"id": "a%2Fb c"}),
        ("api/{id}", "api/%FF", {"id": "\ufffd"}),
        ("api/{id}", "api/x/", None),
        ("api/{*rest}", "api/a%0Ab", {"rest": "a\nb"}),
        ("a-{x}.json", "a-1.json", {"x": "1"}),
        ("v/{id:guid}", "v/01234567-89ab-cdef-0123-456789abcdef", {"id": "01234567-89ab-cdef-0123-456789abcdef"}),
    ],
)
def test_a_template_matches_as_in_asp_net(template: str, path: str, parameters: dict[str, str] | None) -> None:
    assert RouteTemplate(template).match(path) == parameters


@pytest.mark.parametrize(
    "template",
    [
        "a/{b",
        "a/{b:colour}",
        "a/}{",
        "a/{b:int:min(x)}",
        "a/{b:range(1)}",
        "a/{b:length(1,2,3)}",
        "a/{b:regex([)}",
        "a/{b}/{B}",
        "a/{}",
        "a/{b:int!}",
    ],
)
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(AppInvalid, match="the route"):
        RouteTemplate(template)


def test_no_key_can_be_taken_for_an_option_of_a_command(tmp_path: Path) -> None:
    made = [HostKeys(tmp_path / f"{number}.json") for number in range(100)]

    keys = [key for host in made for key in (host.function, host.master, host.durable, host.rpc)]
    assert all(key.isalnum() for key in keys)


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    first = HostKeys(path)
    made = {first.function, first.master, first.durable, first.rpc, first.of_mount("blobs"), first.of_mount("other")}
    second = HostKeys(path)

    assert made == {
        second.function, second.master, second.durable, second.rpc, second.of_mount("blobs"), second.of_mount("other")
    }  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) == 6


def test_a_damaged_key_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("{}")

    with pytest.raises(StateDamaged, match=r"keys\.json"):
        HostKeys(path)
    assert path.read_text() == "{}"


def test_a_key_of_a_mount_that_is_no_base64_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    HostKeys(path).of_mount("blobs")
    path.write_text(json.dumps({**json.loads(path.read_text()), "blobs": "no base64!"}))

    with pytest.raises(StateDamaged, match="blobs"):
        HostKeys(path).of_mount("blobs")


def test_a_key_opens_from_header_or_query_but_an_empty_one_never_does() -> None:
    assert opens({"code": "k"}, {}, "k")
    assert opens({}, {"x-functions-key": "k"}, "other", "k")
    assert opens({"code": "k"}, {"x-functions-key": "another"}, "k")
    assert not opens({"code": ""}, {}, "")
    assert not opens({}, {}, "k")
    assert not opens({"code": "ключ"}, {}, "k")
