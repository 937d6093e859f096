"""An index describes any bytes, and survives storage; damaged ones are refused or harmless."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import astuple

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta import leb128
from imagedelta.errors import ContentError
from imagedelta.limits import KIB, Limits
from imagedelta.signatures import LayerIndex, index_layer
from tests.images import a_layer
from tests.vectors.index_reader import Index

FILES = st.dictionaries(st.from_regex(r"[a-z]{1,5}(/[a-z0-9.]{1,7}){0,3}", fullmatch=True), st.binary(max_size=2000))
TARS = st.builds(a_layer, FILES)
SPLICED = st.builds(
    lambda one, two, junk, at: one[:at] + junk + two[at:], TARS, TARS, st.binary(max_size=1100), st.integers(0, 8000)
)
LAYERS = st.one_of(TARS, st.binary(max_size=3000), SPLICED)
SMALL = Limits(max_index_bytes=256 * KIB, max_layer_files=1000)


@settings(max_examples=300)
@given(LAYERS)
def test_files_of_any_layer_are_in_order_within_it_and_have_their_digest(layer):
    index = index_layer(io.BytesIO(layer))

    end = 0
    for entry in index.entries:
        assert end <= entry.header_offset < entry.offset
        end = entry.offset + entry.size
        data = layer[entry.offset : end]
        assert len(data) == entry.size
        assert entry.digest == (hashlib.sha256(data).digest() if data else b"")
    assert end <= index.size == len(layer)
    assert index.diff_id == "sha256:" + hashlib.sha256(layer).hexdigest()


@given(LAYERS)
def test_any_index_survives_storage(layer):
    index = index_layer(io.BytesIO(layer))

    assert LayerIndex.from_bytes(index.to_bytes()) == index


@given(LAYERS)
def test_the_second_reader_reads_the_same_members_and_every_byte_outside_their_data(layer):
    index = index_layer(io.BytesIO(layer))

    read = Index(index.to_bytes())

    assert (read.diff_id, read.layer_size) == (index.diff_id, index.size)
    assert [astuple(member) for member in read.members] == [astuple(entry) for entry in index.entries]
    data = {at for entry in index.entries for at in range(entry.offset, entry.offset + entry.size)}
    assert read.structure() == {at: byte for at, byte in enumerate(layer) if at not in data}


@settings(max_examples=300)
@given(TARS, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_damaged_index_is_refused_or_stays_within_its_layer(layer, changes):
    data = bytearray(index_layer(io.BytesIO(layer)).to_bytes())
    for at, value in changes:
        data[at % len(data)] = value

    try:
        index = LayerIndex.from_bytes(bytes(data), SMALL)
    except ContentError:
        return
    assert all(0 <= entry.offset <= entry.offset + entry.size <= index.size for entry in index.entries)


@given(st.binary(max_size=500))
def test_any_bytes_are_an_index_or_refused(data):
    with contextlib.suppress(ContentError):
        LayerIndex.from_bytes(data, SMALL)


@given(st.lists(st.integers(0, (1 << 63) - 1)))
def test_numbers_survive_their_encoding(numbers):
    data = leb128.encode_all(numbers)

    assert leb128.decode_all(data, 0, len(numbers)) == (numbers, len(data))
