"""Platforms: other tools' words, what documents say together, and what runs where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.errors import ContentError, RequestError
from imagedelta.platforms import Stated, best_of, parse_platform, parse_platforms, runs, settled, stated


@pytest.mark.parametrize(
    ("written", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("arm64", "linux/arm64"),
        ("arm32v7", "linux/arm/v7"),
        ("arm64v8", "linux/arm64"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        ("linux/ppc64le/power9", "linux/ppc64le/power9"),
    ],
)
def test_every_word_for_a_platform_has_one_spelling(written, platform):
    assert parse_platform(written) == platform == parse_platform(platform)


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/a b", "linux/../x", "linux/arm\n", "x" * 200]
)
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(RequestError) as refusal:
        parse_platform(text)
    assert refusal.value.code == "request.platform"


def test_a_list_of_platforms_is_read_in_its_order():
    assert parse_platforms("arm64, linux/arm,linux/arm/v7") == ("linux/arm64", "linux/arm/v7")


def together(*documents: dict[str, object]) -> str:
    """The platform of documents, from the lightest to the heaviest."""
    return settled(*map(words_of, documents))


def words_of(document: dict[str, object]) -> Stated:
    return stated(document.get("os"), document.get("architecture"), document.get("variant"), "test")


@pytest.mark.parametrize(
    ("descriptor", "config", "platform"),
    [
        ({}, {"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64"),
        (
            {"os": "linux", "architecture": "arm", "variant": "v6"},
            {"os": "linux", "architecture": "arm"},
            "linux/arm/v6",
        ),
        (
            {"os": "linux", "architecture": "arm", "variant": "v7"},
            {"os": "linux", "architecture": "amd64"},
            "linux/amd64",
        ),
        ({"os": "linux", "architecture": "arm64"}, {"os": "", "architecture": ""}, "linux/arm64"),
        ({"os": "unknown", "architecture": "unknown"}, {"architecture": "386"}, "linux/386"),
        ({}, {"os": None, "architecture": "s390x"}, "linux/s390x"),
        ({}, {"os": "windows"}, ""),
        ({}, {}, ""),
        ({"os": "linux", "architecture": "arm", "variant": "v6"}, {"architecture": "armhf"}, "linux/arm/v7"),
    ],
)
def test_the_config_outweighs_the_descriptor_which_fills_what_it_leaves_out(descriptor, config, platform):
    assert together(descriptor, config) == platform


@pytest.mark.parametrize("document", [{"os": "../x"}, {"architecture": 7}, {"variant": ["v7"]}, {"os": "a b"}])
def test_a_document_with_other_things_than_words_is_refused(document):
    with pytest.raises(ContentError, match="test: "):
        words_of(document)


@pytest.mark.parametrize(
    ("own", "platform", "does"),
    [
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v7", "linux/arm/v5", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm64", "linux/arm/v7", False),
        ("linux/arm64,linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm64/v8.2", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8.2", False),
        ("linux/arm64/v9", "linux/arm64/v8.5", True),
        ("linux/arm64/v9", "linux/arm64/v8.6", False),
        ("linux/amd64", "linux/386", False),
        ("linux/amd64/v3", "linux/amd64/v2", True),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/amd64", "", False),
        ("linux/ppc64le/power9", "linux/ppc64le/power9", True),
        ("linux/ppc64le/power9", "linux/ppc64le/power8", False),
    ],
)
def test_a_machine_runs_lower_variants_of_what_it_states(own, platform, does):
    assert runs(parse_platforms(own), platform) is does


@pytest.mark.parametrize(
    ("own", "offered", "best"),
    [
        ("linux/arm/v7", ("linux/arm/v5", "linux/arm/v6", "linux/amd64"), "linux/arm/v6"),
        ("linux/arm64,linux/arm/v7", ("linux/arm/v7", "linux/arm64"), "linux/arm64"),
        ("linux/arm64,linux/arm/v7", ("linux/arm/v7", "linux/amd64"), "linux/arm/v7"),
        ("linux/arm/v7,linux/arm64", ("linux/arm/v7", "linux/arm64"), "linux/arm/v7"),
        ("linux/arm/v6", ("linux/arm/v7",), None),
        ("linux/amd64", (), None),
    ],
)
def test_the_best_image_is_the_first_that_the_machine_states_in_its_highest_variant(own, offered, best):
    assert best_of(parse_platforms(own), offered) == best


@given(st.text(max_size=40))
def test_any_text_is_a_platform_or_refused_and_its_spelling_stands_for_itself(text):
    try:
        platform = parse_platform(text)
    except RequestError:
        return
    assert parse_platform(platform) == platform
    assert runs((platform,), platform)
