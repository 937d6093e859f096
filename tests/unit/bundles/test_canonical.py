import pytest

from imagedelta.bundles import canonical_bytes, read_canonical
from imagedelta.errors import ContentError


def test_keys_are_sorted_and_nothing_is_escaped_without_need():
    assert canonical_bytes({"b": [1, "ü"], "a": {"d": None, "c": True}}) == (
        '{"a":{"c":true,"d":null},"b":[1,"ü"]}'.encode()
    )


@pytest.mark.parametrize(
    "data",
    [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":"\\u00fc"}', b'{"a":1}\n', b'{"a":1e0}', b'{"a":1.0}'],
)
def test_another_spelling_of_the_same_value_is_refused(data):
    with pytest.raises(ContentError):
        read_canonical(data, "document")


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b'{"a":NaN}', b'{"a":"\\ud800"}'],
)
def test_what_is_no_object_in_utf8_is_refused(data):
    with pytest.raises(ContentError):
        read_canonical(data, "document")


def test_a_float_has_no_canonical_spelling():
    with pytest.raises(ContentError):
        canonical_bytes({"a": [0.5]})
