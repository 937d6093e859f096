"""Route templates as ASP.NET reads them, and the keys that open functions."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from imagedelta_host.errors import AppInvalid, StateDamaged
from imagedelta_host.keys import HostKeys, opens
from imagedelta_host.routes import Route


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
        ("{*path}", "", {"path": ""}),
        ("a-{x}.json", "a-1.json", {"x": "1"}),
        ("v/{id:guid}", "v/01234567-89ab-cdef-0123-456789abcdef", {"id": "01234567-89ab-cdef-0123-456789abcdef"}),
    ],
)
def test_a_template_matches_as_in_asp_net(template: str, path: str, parameters: dict[str, str] | None) -> None:
    assert Route.compile(template).match(path) == parameters


def test_the_more_specific_route_comes_first() -> None:
    templates = ["{*path}", "api/{a}/{b}", "api/sets/{id}", "api/sets/open", "api/sets/{id:int}"]

    ordered = sorted((Route.compile(template) for template in templates), key=lambda route: route.rank)

    assert [route.template for route in ordered] == [
        "api/sets/open",
        "api/sets/{id:int}",
        "api/sets/{id}",
        "api/{a}/{b}",
        "{*path}",
    ]


@pytest.mark.parametrize("template", ["a/{b", "a/{b:colour}", "a/}{"])
def test_a_broken_template_is_refused(template: str) -> None:
    with pytest.raises(AppInvalid, match="the route"):
        Route.compile(template)


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


def test_a_key_opens_from_header_or_query_but_an_empty_one_never_does() -> None:
    assert opens({"code": "k"}, {}, "k")
    assert opens({}, {"x-functions-key": "k"}, "other", "k")
    assert opens({"code": "k"}, {"x-functions-key": "another"}, "k")
    assert not opens({"code": ""}, {}, "")
    assert not opens({}, {}, "k")
    assert not opens({"code": "ключ"}, {}, "k")
