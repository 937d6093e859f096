"""The committed vectors are what the formats' documents say: the good are read, the bad refused by their rule."""

from __future__ import annotations

import pytest

from imagedelta.errors import ContentError
from imagedelta.signatures import LayerIndex, Signature
from tests.vectors.index_and_signature import CODES, HERE, index, vectors

FILES = sorted([*(HERE / "index").iterdir(), *(HERE / "signature").iterdir()])
READERS = {".imdi": LayerIndex.from_bytes, ".imds": Signature.from_bytes}


def rule(path) -> str:
    return "-".join(path.stem.split("-")[:2])


def test_the_committed_vectors_are_the_ones_that_the_pinned_codecs_write():
    assert {path: path.read_bytes() for path in FILES} == vectors()


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "good"], ids=lambda path: path.name)
def test_a_bad_vector_is_refused_with_the_code_of_its_rule(path):
    with pytest.raises(ContentError) as caught:
        READERS[path.suffix](path.read_bytes())
    assert caught.value.code == CODES[rule(path)]


def test_the_good_vectors_are_read():
    assert LayerIndex.from_bytes((HERE / "index/good.imdi").read_bytes()) == index()
    signature = Signature.from_bytes((HERE / "signature/good.imds").read_bytes())
    assert [layer.diff_id for layer in signature.layers] == [index().diff_id]
