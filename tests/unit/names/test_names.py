"""One grammar and one spelling of image names, and IDs by their first digits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.errors import RequestError
from imagedelta.names import (
    MAX_NAME,
    PATTERN,
    ImageName,
    archive_name,
    id_prefix,
    is_host,
    name_or_none,
    parse_name,
    spelled,
)

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app", ImageName("", "app")),
        ("app:2", ImageName("", "app", "2")),
        ("team/app:2", ImageName("", "team/app", "2")),
        ("localhost/app:2", ImageName("localhost", "app", "2")),
        ("localhost:5000/app", ImageName("localhost:5000", "app")),
        ("[::1]:5000/app:1", ImageName("[::1]:5000", "app", "1")),
        ("HOST/app:1", ImageName("HOST", "app", "1")),
        ("fleet.example/a/b/app:2", ImageName("fleet.example", "a/b/app", "2")),
        (f"fleet.example/app@{DIGEST}", ImageName("fleet.example", "app", "", DIGEST)),
        (f"fleet.example:443/app:2@{DIGEST}", ImageName("fleet.example:443", "app", "2", DIGEST)),
        ("library/app:2", ImageName("", "app", "2")),
        ("docker.io/library/a/b:2", ImageName("", "library/a/b", "2")),
    ],
)
def test_a_name_is_taken_apart(text, name):
    assert parse_name(text) == name


@pytest.mark.parametrize(
    ("texts", "one"),
    [
        (
            ("app", "app:latest", "library/app", "docker.io/app", "docker.io/library/app:latest"),
            "app:latest",
        ),
        (("a/app:1", "docker.io/a/app:1", "index.docker.io/a/app:1"), "a/app:1"),
        ((f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}"), f"app@{DIGEST}"),
        (("quay.io/library/app:1",), "quay.io/library/app:1"),
        (("app:Release_1.0",), "app:Release_1.0"),
    ],
)
def test_the_short_and_the_long_form_mean_the_same(texts, one):
    assert {spelled(text) for text in texts} == {one}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "missing"),
        ("h.example/", "missing"),
        ("App:1", "capital"),
        ("app:", "not a tag"),
        ("app:a b", "not a tag"),
        ("app:1:2", "not a tag"),
        ("a//b", "not a repository"),
        ("/app", "not a repository"),
        ("../app", "not HOST"),
        ("h.example/../app", "not a repository"),
        ("app@sha256:12", "64 hex"),
        ("app@md5:1", "64 hex"),
        ("h:x/app", "not HOST"),
        ("h:99999/app", "not HOST"),
        ("https://h/app", "not HOST"),
        ("u:p@h/app", "not HOST"),
        ("<none>:<none>", "not a repository"),
        ("a" * 64, "image ID"),
        (f"app:{'a' * 129}", "not a tag"),
        (f"{'a/' * 150}app", "longer"),
        ("app\n", "not a repository"),
        ("app:1\n", "not a tag"),
    ],
)
def test_what_is_no_name_is_refused_by_the_part_that_is_wrong(text, said):
    with pytest.raises(RequestError, match=said) as refusal:
        parse_name(text)
    assert refusal.value.code == "request.image_name"
    assert name_or_none(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app:1", "app:1"),
        ("docker.io/library/app:1", "app:1"),
        ("h.example:5000/app:1", "h.example:5000/app:1"),
        ("h.example:5000/app", None),
        ("latest", None),
        ("1", None),
        ("v1.2.3", None),
        ("App:1", None),
        ("<none>:<none>", None),
        (f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
    ],
)
def test_only_a_name_with_a_tag_or_digest_is_an_archives_name(text, name):
    assert archive_name(text) == name


def test_a_digest_names_no_tag_to_load_an_image_under():
    assert parse_name(f"app@{DIGEST}").tagged == ""
    assert parse_name(f"app:1@{DIGEST}").tagged == "app:1"
    assert parse_name("app").tagged == "app:latest"


@given(st.from_regex(PATTERN, fullmatch=True).filter(lambda text: len(text) <= MAX_NAME and "\n" not in text))
def test_what_fits_the_pattern_of_schemas_is_a_name(text):
    assert name_or_none(text)


@given(st.text(max_size=80))
def test_any_text_is_a_name_or_refused_and_the_spelling_stands_for_itself(text):
    name = name_or_none(text)

    if name:
        assert spelled(str(name)) == str(name)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("a" * 12, "sha256:" + "a" * 12),
        (DIGEST, DIGEST),
        (DIGEST[:19], DIGEST[:19]),
        ("a" * 64, DIGEST),
        ("a" * 11, None),
        ("a" * 65, None),
        ("A" * 12, None),
        ("app:1", None),
        ("a" * 12 + "%", None),
    ],
)
def test_an_id_is_known_by_its_first_twelve_digits(text, prefix):
    assert id_prefix(text) == prefix


@pytest.mark.parametrize(
    ("text", "known"),
    [("h", True), ("h:5000", True), ("[::1]:1", True), ("h/", False), ("h:0", False), ("-h", False), ("a..b", False)],
)
def test_a_host_is_known(text, known):
    assert is_host(text) is known
