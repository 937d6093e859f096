from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from imagedelta.errors import RequestError
from planning.priorities import class_of, parse_rules

RULES = parse_rules(
    {
        "rules": [
            {"class": "urgent", "module": "alarm*"},
            {"class": "background", "workstream": "analytics"},
            {"class": "urgent", "tags": {"site": "north-*", "hull": 7}},
        ]
    }
)


@pytest.mark.parametrize(
    ("workstream", "modules", "tags", "expected"),
    [
        ("analytics", ["alarms"], {}, "urgent"),
        ("analytics", ["app", "alarms"], {}, "urgent"),
        ("analytics", ["app"], {"site": "north-1", "hull": "7"}, "background"),
        ("bridge", ["app"], {"site": "north-1", "hull": "7"}, "urgent"),
        ("bridge", ["app"], {"site": "north-1"}, "normal"),
        ("bridge", ["app"], {"site": "south", "hull": "7"}, "normal"),
        ("Analytics", ["app"], {}, "normal"),
    ],
)
def test_the_first_rule_that_matches_counts(
    workstream: str, modules: list[str], tags: dict[str, str], expected: str
) -> None:
    assert class_of(RULES, workstream, modules, tags) == expected


def test_without_rules_everything_is_normal() -> None:
    assert class_of(parse_rules({"rules": []}), "bridge", ["app"], {}) == "normal"


def test_the_projects_own_file_can_be_read() -> None:
    path = Path(__file__).parents[3] / "priorities.yaml"

    assert isinstance(parse_rules(yaml.safe_load(path.read_text())), tuple)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (None, "a list 'rules'"),
        ([], "a list 'rules'"),
        ({"rules": {}}, "a list 'rules'"),
        ({"rules": [{"class": "urgent"}] * 1001}, "at most 1000"),
        ({"rules": [{"class": "urgent"}, "x"]}, "rule 2"),
        ({"rules": [{"class": "urgent", "modul": "x"}]}, "rule 1"),
        ({"rules": [{"module": "x"}]}, "rule 1: class"),
        ({"rules": [{"class": "soon"}]}, "rule 1: class"),
        ({"rules": [{"class": ["urgent"]}]}, "rule 1: class"),
        ({"rules": [{"class": "urgent", "tags": ["site"]}]}, "rule 1: tags"),
        ({"rules": [{"class": "urgent", "module": ["a", "b"]}]}, "rule 1: ['a', 'b']"),
        ({"rules": [{"class": "urgent", "workstream": None}]}, "rule 1: None"),
        ({"rules": [{"class": "urgent", "tags": {"site": True}}]}, "rule 1: True"),
    ],
)
def test_a_rule_that_could_never_mean_what_it_says_is_refused_by_its_number(document: Any, named: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_rules(document)

    assert caught.value.code == "settings.priorities"
    assert named in str(caught.value)
