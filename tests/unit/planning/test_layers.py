from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta_local.iothub.deployments import meets
from planning.layers import Layer, family, family_of, layer_in, new_layer, tag_name, tag_of
from planning.manifest import resolve
from planning.release import ModuleClash

WORKSTREAMS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
A_B = hashlib.sha256(b"a.b").hexdigest()[:8]
SET = "set-" + "0123456789abcdef" * 2


def layer(workstream: str = "default", image: str = "fleet.example/app:2", **changes: Any) -> Layer:
    agent = {"properties.desired": {"modules": {"app": {"settings": {"image": image}}}}}
    given: dict[str, Any] = {
        "set_id": SET,
        "ordinal": 7,
        "workstream": workstream,
        "owners": {},
        "registry_address": "localhost:5000",
        "local_digests": {},
    }
    return new_layer(resolve({"modulesContent": {"$edgeAgent": agent}}, {}), **{**given, **changes})


@given(WORKSTREAMS)
def test_a_layer_of_any_workstream_has_an_id_and_a_condition_that_a_hub_takes(workstream: str) -> None:
    made = layer(workstream)

    assert re.fullmatch(r"[a-z0-9\-+%_*!']{1,128}", made.layer_id)
    assert re.fullmatch(r"[a-z_][a-z0-9_]*", tag_name(workstream))
    assert family_of(made.layer_id) == family(workstream)
    tags = tag_of(made, workstream)
    assert meets(made.condition)({"tags": tags})
    assert layer_in(tags, workstream) == made.layer_id
    assert not meets(made.condition)({"tags": {}})


@given(WORKSTREAMS, WORKSTREAMS)
def test_two_workstreams_never_share_a_tag_or_a_family(one: str, other: str) -> None:
    if one != other:
        assert tag_name(one) != tag_name(other)
        assert not layer(one).layer_id.startswith(family(other))


@pytest.mark.parametrize(
    "names", [("Nav", "nav"), ("a.b", "a-b"), ("a.b", "a_b"), ("ws", "ws_ws"), ("a.b", "a_b_" + A_B)]
)
def test_names_that_look_alike_are_told_apart(names: tuple[str, str]) -> None:
    assert tag_name(names[0]) != tag_name(names[1])


def test_devices_that_are_alike_are_in_one_layer_and_others_in_another() -> None:
    digest = "sha256:" + "1" * 64
    same, digests, address = (
        layer(),
        layer(local_digests={"fleet.example/app:2": digest}),
        layer(registry_address="10.0.0.2:5000"),
    )

    assert same == layer()
    assert len({same.layer_id, digests.layer_id, address.layer_id}) == 3
    assert digests.images == {"app": f"localhost:5000/app@{digest}"}
    assert layer(set_id="set-1").layer_id != same.layer_id


def test_a_later_set_lies_higher_and_a_foreign_module_is_not_laid_over() -> None:
    assert layer(ordinal=8).priority > layer().priority > 1_000_000 - 1
    with pytest.raises(ModuleClash):
        layer(owners={"app": "bridge"})


@pytest.mark.parametrize("tags", [{}, {"imagedelta": None}, {"imagedelta": "x"}, {"imagedelta": {"other": "y"}}])
def test_tags_that_others_wrote_say_nothing(tags: Any) -> None:
    assert layer_in(tags, "default") is None
