"""Registries in the settings: what is refused, which login is meant, which registry has an image."""

from __future__ import annotations

import pytest

from imagedelta.errors import RequestError
from services.factory import make_deps
from services.settings import Settings, load_settings


def settings(**variables: str) -> Settings:
    names = {"REGISTRIES": "dev,prod", "REGISTRY_DEV_HOST": "d.azurecr.io", "REGISTRY_PROD_HOST": "p.example:5000"}
    return load_settings({f"IMAGEDELTA_{name}": value for name, value in (names | variables).items()})


def refusal(**variables: str) -> str:
    with pytest.raises(RequestError) as error:
        settings(**variables)
    assert error.value.code == "settings.invalid"
    return str(error.value)


def test_without_settings_there_is_no_registry_and_no_rule():
    intake = load_settings({}).intake

    assert (dict(intake.registries), dict(intake.rules), intake.all_platforms) == ({}, {}, False)
    assert intake.prepare_patches


@pytest.mark.parametrize(
    ("variables", "login"),
    [
        ({}, "identity"),
        ({"REGISTRY_DEV_HOST": "d.azurecr.cn"}, "identity"),
        ({"REGISTRY_DEV_HOST": "d.azurecr.io.evil.example"}, "none"),
        ({"REGISTRY_DEV_HOST": "d.example"}, "none"),
        ({"REGISTRY_DEV_USER": "ann", "REGISTRY_DEV_PASSWORD": "a password"}, "password"),
        ({"REGISTRY_DEV_LOGIN": "none"}, "none"),
        ({"REGISTRY_DEV_HOST": "d.example", "REGISTRY_DEV_LOGIN": "identity"}, "identity"),
    ],
)
def test_azures_registries_are_asked_with_the_identity_unless_a_user_is_given(variables, login):
    found = settings(**variables).intake.registries["dev"]

    assert found.login == login
    assert "a password" not in repr(found)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"REGISTRY_DEV_HOST": ""}, "IMAGEDELTA_REGISTRY_DEV_HOST is not set"),
        ({"REGISTRY_DEV_HOST": "https://d.azurecr.io"}, "IMAGEDELTA_REGISTRY_DEV_HOST"),
        ({"REGISTRY_DEV_HOST": "d"}, "must begin with HOST"),
        ({"REGISTRY_DEV_HOST": "d.example/Path"}, "is no HOST[:PORT][/PATH]"),
        ({"REGISTRY_DEV_HOST": "p.example:5000"}, "of both"),
        ({"REGISTRY_DEV_LOGIN": "password"}, "set IMAGEDELTA_REGISTRY_DEV_USER"),
        ({"REGISTRY_DEV_USER": "ann"}, "IMAGEDELTA_REGISTRY_DEV_LOGIN is password"),
        ({"REGISTRY_DEV_INSECURE": "maybe"}, "must be true or false"),
        ({"REGISTRIES": "dev,prod,Dev"}, "holds 'Dev'"),
        ({"REGISTRIES": "dev,prod,archive"}, "not archive"),
        ({"REGISTRIES": "dev,prod,dev"}, "holds dev twice"),
        ({"IMAGE_PLATFORMS": "some"}, "must be one of fleet, all"),
        ({"PREPARE_PATCHES": "yes"}, "must be one of true, false"),
        ({"REGISTRY_PRODD_HOST": "x.example"}, "IMAGEDELTA_REGISTRY_PROD_HOST is"),
    ],
)
def test_what_is_wrong_is_told_by_the_name_of_its_variable(variables, told):
    assert told in refusal(**variables)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("d.azurecr.io/team/app:1", "dev"),
        ("d.azurecr.io/released/app:1", "prod"),
        ("d.azurecr.io/released-not/app:1", "dev"),
        ("docker.io/library/alpine:3", "hub"),
        ("team/app:1", "hub"),
    ],
)
def test_an_image_is_of_the_registry_whose_place_fits_best(reference, name):
    names = {"REGISTRIES": "dev,prod,hub", "REGISTRY_PROD_HOST": "d.azurecr.io/released"}
    intake = settings(**names, REGISTRY_HUB_HOST="docker.io").intake

    assert intake.registry_of(reference).name == name


@pytest.mark.parametrize("reference", ["d.azurecr.io.evil.example/app:1", "d.azurecr.io:444/app:1", "app:1", "x/app:1"])
def test_nothing_is_fetched_from_where_the_settings_do_not_say(reference):
    with pytest.raises(RequestError) as error:
        settings().intake.registry_of(reference)
    assert error.value.code == "request.unknown_registry"


def test_a_rule_that_is_no_query_keeps_the_app_from_starting(tmp_path):
    given = settings(REGISTRY_DEV_DEVICES="tags.ring =", BLOBS_DIR=str(tmp_path / "blobs"))

    with pytest.raises(RequestError, match="IMAGEDELTA_REGISTRY_DEV_DEVICES cannot be used") as error:
        make_deps(given)
    assert error.value.code == "settings.invalid"


def test_rules_name_every_place_once_there_is_one():
    assert settings(REGISTRY_DEV_DEVICES="tags.ring = 'dev'").intake.rules == {
        "archive": "",
        "dev": "tags.ring = 'dev'",
        "prod": "",
    }
