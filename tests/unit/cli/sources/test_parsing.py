"""Names, challenges, logins and platforms: small texts from outside, read strictly."""

from __future__ import annotations

import base64
import json
import stat

import pytest

from imagedelta.errors import RequestError
from imagedelta.platforms import machine_platform
from imagedelta_cli.sources.credentials import DockerLogins
from imagedelta_registry.challenge import read_challenges
from imagedelta_registry.login import NO_LOGIN, Login
from imagedelta_registry.manifests import Blob, Choice, for_machine, for_machines
from imagedelta_registry.names import is_loopback, parse_registry_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("h/app", ("h", "app", "latest", "")),
        ("h:5000/a/b:1.2", ("h:5000", "a/b", "1.2", "")),
        ("[::1]:5000/app:1#linux/arm64", ("[::1]:5000", "app", "1", "linux/arm64")),
        (f"h/app@{DIGEST}", ("h", "app", DIGEST, "")),
        (f"h/app:1@{DIGEST}", ("h", "app", DIGEST, "")),
        ("docker.io/alpine:3", ("docker.io", "library/alpine", "3", "")),
        ("index.docker.io/a/b", ("docker.io", "a/b", "latest", "")),
        ("h:5000/my.org/app:1", ("h:5000", "my.org/app", "1", "")),
        ("h:5000/localhost/app:1", ("h:5000", "localhost/app", "1", "")),
        ("h/library/app:1", ("h", "library/app", "1", "")),
    ],
)
def test_a_registry_name_is_read(argument, expected):
    name = parse_registry_name(f"registry://{argument}")

    assert (name.host, name.repository, name.reference, name.platform) == expected


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "app",
        "/app",
        "h/",
        "h/App",
        "h/a//b",
        "h/../b",
        "h/app:",
        "h/app:a b",
        "h/app@sha256:1",
        "h/app@",
        "u:p@h/app",
        "h:0/app",
        "h:99999/app",
        "h:x/app",
        "-h/app",
        "h/a?b",
        f"h/{'a' * 300}",
        f"h/app:{'a' * 129}",
        "[::1/app",
    ],
)
def test_what_is_no_registry_name_is_refused(argument):
    with pytest.raises(RequestError):
        parse_registry_name(f"registry://{argument}")


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:5000", True),
        ("localhost.example.org", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_only_this_machine_is_loopback(address, here):
    assert is_loopback(address) is here


def test_challenges_are_read_with_commas_quotes_and_several_in_one_header():
    headers = [
        'Basic realm="a, \\"b\\"", Bearer realm="https://t/x",service=s,scope="repository:a:pull,push"',
        "Negotiate",
    ]

    basic, bearer, negotiate = read_challenges(headers)

    assert (basic.scheme, dict(basic.parameters)) == ("basic", {"realm": 'a, "b"'})
    assert dict(bearer.parameters) == {"realm": "https://t/x", "service": "s", "scope": "repository:a:pull,push"}
    assert (negotiate.scheme, dict(negotiate.parameters)) == ("negotiate", {})


@pytest.mark.parametrize("header", ["", '"', "=", ",,,", 'Bearer realm="open', "\\" * 20_000, 'B a="' + "\\" * 20_000])
def test_a_broken_challenge_does_no_harm(header):
    assert all(challenge.scheme for challenge in read_challenges([header]))


@pytest.fixture
def logins(tmp_path):
    """Logins from a config.json, with a folder for docker-credential programs."""

    def make(config: object) -> DockerLogins:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return DockerLogins({"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"})

    return make


def program(folder, name, text):
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def auth(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_without_a_file_nobody_is_logged_in(tmp_path):
    assert DockerLogins({"DOCKER_CONFIG": str(tmp_path)}).login_for("h") == NO_LOGIN


@pytest.mark.parametrize("key", ["h:5000", "https://h:5000", "http://h:5000/v1/", "https://h:5000/v2/"])
def test_a_login_of_auths_is_found_under_every_form_of_the_address(logins, key):
    found = logins({"auths": {key: {"auth": auth("ann:a:b")}}})

    assert found.login_for("h:5000") == Login("ann", "a:b")
    assert found.login_for("h") == NO_LOGIN


def test_docker_hub_has_a_key_of_its_own(logins):
    found = logins({"auths": {"https://index.docker.io/v1/": {"auth": auth("ann:x"), "identitytoken": "t"}}})

    assert found.login_for("docker.io") == Login("ann", "x", "t")


def test_the_program_of_a_host_goes_before_the_one_for_all(logins, tmp_path):
    program(tmp_path, "one", 'read server; echo "{\\"Username\\":\\"ann\\",\\"Secret\\":\\"$server\\"}"')
    program(tmp_path, "all", 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    found = logins({"credHelpers": {"h": "one"}, "credsStore": "all", "auths": {"h": {"auth": auth("x:y")}}})

    assert found.login_for("h") == Login("ann", "h")
    assert found.login_for("other") == Login(identity_token="refresh")


def test_a_program_that_knows_no_login_is_no_failure(logins, tmp_path):
    program(tmp_path, "all", "echo 'credentials not found in native keychain'; exit 1")

    assert logins({"credsStore": "all"}).login_for("h") == NO_LOGIN


@pytest.mark.parametrize("text", ["exit 1", "echo locked; exit 2", "echo no json", "echo '[]'"])
def test_a_program_that_fails_is_told(logins, tmp_path, text):
    program(tmp_path, "all", text)

    with pytest.raises(RequestError) as refusal:
        logins({"credsStore": "all"}).login_for("h")
    assert refusal.value.code == "registry.credentials"


@pytest.mark.parametrize(
    "config", ["", "[]", "{", {"credsStore": "absent"}, {"credsStore": "../x"}, {"auths": {"h": {"auth": "%%"}}}]
)
def test_a_damaged_config_is_told(logins, config):
    with pytest.raises(RequestError) as refusal:
        logins(config).login_for("h")
    assert refusal.value.code == "registry.credentials"


def test_a_login_never_shows_its_secret():
    assert "s3cret" not in repr(Login("ann", "s3cret", "s3cret"))


def offered(*platforms: str) -> list[Choice]:
    return [Choice(Blob(f"sha256:{n:064}", 1), platform) for n, platform in enumerate(platforms)]


@pytest.mark.parametrize(
    ("wanted", "platforms", "chosen"),
    [
        ("linux/arm64", ("linux/amd64", "linux/arm64"), 1),
        ("linux/arm/v7", ("linux/amd64", "linux/arm/v7"), 1),
        ("linux/arm/v7", ("linux/arm/v5", "linux/arm/v6", "linux/arm64"), 1),
        ("linux/amd64", ("linux/amd64", "linux/amd64"), 0),
        ("", ("linux/s390x",), 0),
        ("", ("windows/amd64", machine_platform()), 1),
    ],
)
def test_a_platform_is_chosen(wanted, platforms, chosen):
    choices = offered(*platforms)

    assert for_machine(wanted)(choices) == [choices[chosen]]


@pytest.mark.parametrize(
    ("wanted", "platforms"),
    [
        ("linux/arm64", ("linux/amd64",)),
        ("linux/arm/v5", ("linux/arm/v6", "linux/arm/v7")),
        ("", ()),
        ("", ("a/b", "c/d")),
    ],
)
def test_no_platform_is_guessed(wanted, platforms):
    with pytest.raises(RequestError, match="no image for"):
        for_machine(wanted)(offered(*platforms))


@pytest.mark.parametrize(
    ("machines", "platforms", "chosen"),
    [
        ([], ("linux/amd64", "linux/arm64", "linux/amd64"), [0, 1]),
        ([["linux/amd64"]], ("linux/arm64", "linux/amd64"), [1]),
        ([["linux/arm/v7"], ["linux/arm64", "linux/arm/v7"]], ("linux/arm64", "linux/arm/v6", "windows/amd64"), [0, 1]),
        ([["linux/s390x"], ["linux/amd64"]], ("linux/amd64", ""), [0]),
        ([["linux/amd64"]], ("",), [0]),
    ],
)
def test_the_images_for_a_fleet_are_chosen(machines, platforms, chosen):
    choices = offered(*platforms)

    assert for_machines(machines)(choices) == [choices[n] for n in chosen]


def test_an_index_with_nothing_for_the_fleet_is_told_with_what_it_has():
    with pytest.raises(RequestError, match=r"no image for linux/s390x; there are: linux/amd64, linux/arm64"):
        for_machines([["linux/s390x"]])(offered("linux/amd64", "linux/arm64"))
