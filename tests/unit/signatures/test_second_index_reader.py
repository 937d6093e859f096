"""The second reader of file indexes, written from the document alone, takes and refuses what the first does."""

from dataclasses import astuple

import pytest

from imagedelta.signatures import LayerIndex
from tests.vectors.index_and_signature import HERE
from tests.vectors.index_reader import Index

BAD = [path for path in sorted((HERE / "index").glob("bad-*")) if not path.name.startswith("bad-3")]
"""Limits, rule 3, are not its matter."""


def test_it_reads_the_good_vector():
    data = (HERE / "index" / "good.imdi").read_bytes()

    assert [astuple(member) for member in Index(data).members] == [
        astuple(entry) for entry in LayerIndex.from_bytes(data).entries
    ]
    assert len(Index(data).structure()) == 3064


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_it_refuses_a_bad_vector(path):
    with pytest.raises(Exception):  # noqa: B017 - it refuses by whatever fails in it
        Index(path.read_bytes())
