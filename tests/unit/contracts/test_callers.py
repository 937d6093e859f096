"""What a token says of who calls, and headers that say nothing that can be believed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.callers import MAX_HEADER, Caller, parse_principal
from imagedelta.errors import RequestError
from tests.callers import APPLICATION, PERSON, TENANT, application, header, person, session


def refused(text: str, tenant: str | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_principal(text, tenant)
    assert (caught.value.code, caught.value.status) == ("caller.principal", 401)
    return caught.value


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def test_a_persons_token_names_the_person_their_mail_and_roles() -> None:
    caller = parse_principal(header(person("deploy", "release")))

    assert caller == Caller(
        "person", "ada@corp.example", PERSON, "Ada Lovelace", "ada@example.org", frozenset({"deploy", "release"})
    )
    assert caller.text == f"person {PERSON}"


def test_a_browser_that_signed_in_is_a_person_though_it_has_no_scopes() -> None:
    assert parse_principal(header(session("read"))).how == "person"


def test_an_application_is_known_by_its_client_id() -> None:
    caller = parse_principal(header(application("deploy")))

    assert (caller.how, caller.identity, caller.email) == ("application", APPLICATION, None)


@pytest.mark.parametrize(("idtyp", "how"), [("app", "application"), ("user", "person")])
def test_where_the_token_says_what_it_is_that_counts(idtyp: str, how: str) -> None:
    assert parse_principal(header([*person("read"), ("idtyp", idtyp)])).how == how


@pytest.mark.parametrize("kind", ["roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"])
def test_roles_are_found_under_both_their_names(kind: str) -> None:
    assert parse_principal(header([*person(), (kind, "release")])).may("release")


@pytest.mark.parametrize("role", ["Release", "admin", "release deploy", "deploy.onbehalf ", ""])
def test_a_role_that_is_nearly_one_is_none(role: str) -> None:
    caller = parse_principal(header(person(role)))

    assert not any(caller.may(known) for known in ("read", "deploy", "release", "enrol", "deploy.onbehalf"))


def test_groups_scopes_and_directory_roles_give_nothing() -> None:
    claims = [*person(), ("groups", "release"), ("wids", "release"), ("scp", "release")]

    assert parse_principal(header([claim for claim in claims if not claim[0].endswith("/scope")])).roles == frozenset()


def test_any_role_reads_and_none_implies_another() -> None:
    caller = parse_principal(header(person("enrol")))

    assert [role for role in ("read", "deploy", "release", "enrol") if caller.may(role)] == ["read", "enrol"]  # type: ignore[arg-type]


def test_a_login_that_is_no_address_is_no_mail_address() -> None:
    claims = [(kind, "ada" if kind == "preferred_username" else value) for kind, value in person(email="")]

    assert parse_principal(header(claims)).email is None


def test_another_tenant_is_refused_where_one_is_named() -> None:
    assert parse_principal(header(person("read")), TENANT.upper()).how == "person"
    refused(header(person("release")), "00000000-0000-4000-8000-000000000000")
    refused(header([claim for claim in person("release") if not claim[0].endswith("/tenantid")]), TENANT)


@pytest.mark.parametrize("provider", ["github", "google", "AAD", "", "facebook"])
def test_only_entra_id_gives_out_roles(provider: str) -> None:
    refused(header(person("release"), provider))


HOSTILE: dict[str, str] = {
    "empty": "",
    "no base64": "hello world",
    "base64 of no JSON": base64.b64encode(b"\xff\xfe").decode(),
    "two headers, joined": f"{header(person('read'))},{header(person('release'))}",
    "url-safe base64": "-_" + header(person("read")),
    "huge": "A" * (MAX_HEADER + 4),
    "deep": base64.b64encode(b"[" * 40_000).decode(),
    "deep in a claim": base64.b64encode(b'{"auth_typ":"aad","claims":' + b"[" * 30_000).decode(),
    "a list": encoded([]),
    "null": encoded(None),
    "a number of many digits": base64.b64encode(b"9" * 40_000).decode(),
    "claims are a text": encoded({"auth_typ": "aad", "claims": "roles"}),
    "claims are missing": encoded({"auth_typ": "aad"}),
    "a claim is a text": encoded({"auth_typ": "aad", "claims": ["roles"]}),
    "a value is a list": encoded({"auth_typ": "aad", "claims": [{"typ": "roles", "val": ["release"]}]}),
    "a value is null": encoded({"auth_typ": "aad", "claims": [{"typ": "roles", "val": None}]}),
    "too many claims": encoded({"auth_typ": "aad", "claims": [{"typ": "a", "val": ""}] * 1001}),
    "the provider is a list": encoded({"auth_typ": ["aad"], "claims": []}),
    "nobody": header([("roles", "release")]),
    "an object id with a line break": header([("oid", "a\nb"), ("preferred_username", "x"), ("roles", "release")]),
    "an object id that is a page": header([("oid", "a" * 2000), ("preferred_username", "x")]),
    "two object ids": header(
        [*person("release"), ("http://schemas.microsoft.com/identity/claims/objectidentifier", "b")]
    ),
    "a name with a line break": header([("oid", PERSON), ("preferred_username", "x\r\nX-Evil: 1"), ("scp", "a")]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_header_that_the_platform_would_not_write_is_refused_without_repeating_it(what: str) -> None:
    error = refused(HOSTILE[what])

    assert len(str(error)) < 150
    assert "release" not in str(error)


@given(st.binary(max_size=200))
def test_no_bytes_bring_down_the_reader(data: bytes) -> None:
    for text in (data.decode("latin-1"), base64.b64encode(data).decode()):
        with pytest.raises(RequestError):
            parse_principal(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["auth_typ", "claims", "typ", "val"]), inner),
        max_leaves=20,
    )
)
def test_no_json_bring_down_the_reader(value: Any) -> None:
    text = encoded({"auth_typ": "aad", "claims": value})

    with pytest.raises(RequestError):
        parse_principal(text)
