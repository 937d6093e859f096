from __future__ import annotations

import json

import pytest

from edge_module.reported_limits import MAX_BYTES, fitting
from imagedelta.errors import RequestError


def test_what_fits_stays_as_it_is() -> None:
    properties = {"engine": "layout", "paused": False, "download": None, "waiting": {"inbox": 3}, "seconds": 1.5}

    assert fitting(properties) == properties


@pytest.mark.parametrize("text", ["ä" * 5000, "\ud800" * 5000, "\x00" * 5000, "𝔸" * 3000])
def test_a_text_is_cut_to_what_a_twin_takes_and_spelt_out(text: str) -> None:
    cut = fitting({"a": {"b": [text]}})["a"]["b"][0]

    assert 4090 <= len(cut.encode()) <= 4096
    assert cut.isprintable()


def test_of_a_long_list_the_last_items_are_told() -> None:
    assert fitting({"refusals": list(range(1000))})["refusals"] == list(range(936, 1000))


def test_what_no_twin_takes_is_refused_here() -> None:
    with pytest.raises(RequestError) as caught:
        fitting({f"key{number}": "x" * 4000 for number in range(9)})
    assert caught.value.code == "hub.refused"
    assert len(json.dumps(fitting({f"key{number}": "x" * 4000 for number in range(8)}))) < MAX_BYTES
