"""Whatever reaches the local hub and the routes from outside is answered or refused, never a crash."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from imagedelta_host.route_templates import RouteTemplate
from imagedelta_local.blobs.ranges import RangeOutside, byte_range
from imagedelta_local.iothub.answers import HubError
from imagedelta_local.iothub.query import parse
from imagedelta_local.iothub.sas import Token
from imagedelta_local.iothub.twins import MAX_PROPERTIES_BYTES, merge, own_properties, require_size

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=8), JSON, max_size=5)
WORDS = st.sampled_from(
    ["select", "*", "from", "devices", "where", "and", "tags.a", "=", "'x'", "in", "[", "]", "(", "5"]
)


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda rest: f"SharedAccessSignature sr=a&sig=b&se=1{rest}"))
def test_no_authorization_header_opens_anything_or_crashes(header: str) -> None:
    try:
        Token.parse(header).require("a2V5", "/iothub/north/devices/d")
    except HubError as error:
        assert error.status == 401
    else:
        raise AssertionError("an invented signature was accepted")


@given(st.text(max_size=200) | st.lists(WORDS, max_size=15).map(" ".join))
def test_every_query_is_understood_or_refused(text: str) -> None:
    try:
        _, condition = parse(text)
    except HubError as error:
        assert error.status == 400
    else:
        assert condition({"tags": {"a": "x"}}) in (True, False)


@given(OBJECTS, OBJECTS)
def test_a_twin_that_is_accepted_holds_no_null_in_objects_and_can_be_stored(old: object, patch: object) -> None:
    try:
        merged = merge(own_properties(merge({}, own_properties(old, "old")), "old"), own_properties(patch, "patch"))
        require_size(merged, MAX_PROPERTIES_BYTES, "properties")
    except HubError:
        return
    assert json.loads(json.dumps(merged)) == merged
    assert _has_no_null(merged)


def _has_no_null(value: object) -> bool:
    return not isinstance(value, dict) or all(item is not None and _has_no_null(item) for item in value.values())


@given(OBJECTS)
def test_merging_the_same_patch_twice_changes_nothing_more(patch: object) -> None:
    try:
        own = own_properties(patch, "patch")
    except HubError:
        return
    once = merge({"kept": 1}, own)
    assert merge(once, own) == once


@given(st.text(max_size=40), st.integers(0, 1000))
def test_every_range_lies_within_the_blob(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            found = byte_range(text, size)
        except RangeOutside:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size


@given(st.text(alphabet=st.characters(blacklist_characters="/", min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_route_parameter_is_one_path_segment(segment: str) -> None:
    found = RouteTemplate("api/{name}").match(f"api/{segment.replace('%', '%25')}")

    assert found == {"name": segment}
