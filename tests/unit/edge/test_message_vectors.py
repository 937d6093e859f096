"""The vectors of docs/formats/messages.md: good ones are taken, bad ones refused by the rule they are named for."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from contracts.messages import parse_inventory, parse_report, to_json
from imagedelta.errors import ContentError, LimitExceeded

VECTORS = Path(__file__).parents[2] / "vectors/messages"
GOOD = sorted(VECTORS.glob("good-*.json"))
BAD = sorted(VECTORS.glob("bad-*.json"))


def parse(path: Path):
    data = path.read_bytes().strip()
    return parse_report(data) if "report" in path.name else parse_inventory(gzip.compress(data))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_good_message_is_taken_and_written_as_it_was(path: Path) -> None:
    assert to_json(parse(path)) == path.read_bytes().strip()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_bad_message_is_refused(path: Path) -> None:
    with pytest.raises(ContentError) as caught:
        parse(path)
    assert caught.value.code == "content.malformed_message"


def test_a_message_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        parse_report(b" " * (256 * 1024 + 1))
    with pytest.raises(LimitExceeded):
        parse_inventory(gzip.compress(b" " * (9 << 20)))


def test_an_inventory_that_is_not_packed_is_refused() -> None:
    with pytest.raises(ContentError) as caught:
        parse_inventory((VECTORS / "good-inventory.json").read_bytes())
    assert caught.value.code == "content.malformed_message"


def test_every_rule_about_bodies_has_a_vector() -> None:
    assert {path.name.split("-")[1] for path in BAD} == {"3", "4", "5"}
