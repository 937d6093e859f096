from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.parameters import ONCE, PAGING, PATH, USER, Moment, Parameter, TagFilter, one_of
from contracts.requests import Reference, StartDeployment, parse_body
from imagedelta.errors import RequestError

LIMIT, AFTER = PAGING
WHEN, TAG = Parameter("to", "", Moment), Parameter("tag", "", TagFilter)


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        (LIMIT, "1", 1),
        (LIMIT, "500", 500),
        (WHEN, "2030-01-31T12:00:00Z", datetime(2030, 1, 31, 12, tzinfo=UTC)),
        (WHEN, "2030-01-31t13:00:00.5+01:00", datetime(2030, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)),
        (TAG, "site=a=b", "site=a=b"),
        (Parameter("state", "", one_of(["held", "active"])), "held", "held"),
        (USER, "Zoë Keller", "Zoë Keller"),
        (ONCE, "a b", "a b"),
    ],
)
def test_a_value_is_read_as_its_type(parameter: Parameter, text: str, value: Any) -> None:
    assert parameter.read(text) == value


@pytest.mark.parametrize(
    ("parameter", "text"),
    [
        *((LIMIT, text) for text in ("0", "501", "+1", " 1", "1_0", "１", "1.0", "-1", "9" * 30)),
        *((WHEN, text) for text in ("2030-01-31", "2030-01-31T12:00:00", "1", "2030-02-30T00:00:00Z")),
        *((WHEN, text) for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "２030-01-31T12:00:00Z")),
        *((TAG, text) for text in ("site", "=a", "a b=c", "a=\n")),
        *((PATH["deviceId"], text) for text in ("", "a b", "a/b", "ä", "x" * 129)),
        *((USER, text) for text in ("x" * 129, "a\tb", "\udce9")),
        *((ONCE, text) for text in ("", " ", "a ", "ä", "x" * 256, "a\nb")),
        (AFTER, "?"),
        (PATH["setId"], "\ud800"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_parameters_name(parameter: Parameter, text: str) -> None:
    with pytest.raises(RequestError, match=f"^{parameter.name}: ") as refused:
        parameter.read(text)

    assert (refused.value.code, refused.value.status) == ("request.invalid", 400)


def order(**change: Any) -> bytes:
    whole = {"name": "n", "owner": {"name": "A", "email": "a@b.example"}, "devices": {"ids": ["x"]}, "images": ["a:1"]}
    return json.dumps({**whole, **change}).encode()


def test_a_whole_number_may_be_written_with_a_point_as_json_schema_allows() -> None:
    assert parse_body(StartDeployment, order(maxBytes=5.0)).max_bytes == 5


@pytest.mark.parametrize(
    "change",
    [
        *({"maxBytes": value} for value in ("5", True, 5.5, 2**63, 0)),
        *({"allowFullBundles": value} for value in ("true", 1)),
        *({"deadline": value} for value in (1_900_000_000, "1900000000", "2030-01-31")),
        *({"devices": value} for value in ({}, {"ids": None}, {"ids": ["x"], "query": "tags.a = 'b'"})),
        {"owner": {"name": "A", "email": "a@b\u2028.example"}},
    ],
)
def test_no_value_of_another_json_type_is_converted(change: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        parse_body(StartDeployment, order(**change))

    assert refused.value.status == 400


def test_a_value_that_fits_the_document_and_means_nothing_is_another_problem_than_one_that_does_not_fit() -> None:
    reference = Parameter("reference", "", Reference)

    statuses = {}
    image_id = "a" * 64
    for text in ("app:1", image_id, "?"):
        try:
            reference.read(text)
        except RequestError as refused:
            statuses[text] = refused.status

    assert statuses == {image_id: 422, "?": 400}
