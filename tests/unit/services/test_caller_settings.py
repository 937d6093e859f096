from __future__ import annotations

import pytest

from services.caller_settings import read_caller_settings
from services.setting_values import Values

ON = {"WEBSITE_AUTH_ENABLED": "True"}


def by_platform(**env: str) -> bool:
    return read_caller_settings(Values(env)).by_platform


@pytest.mark.parametrize("place", ["WEBSITE_INSTANCE_ID", "CONTAINER_NAME", "WEBSITE_POD_NAME"])
def test_the_platform_authenticates_where_it_says_so_on_every_plan(place: str) -> None:
    assert by_platform(**ON, **{place: "x"})


@pytest.mark.parametrize("said", ["", "False", "0", "1", "yes"])
def test_what_the_host_itself_does_not_read_as_true_is_not(said: str) -> None:
    assert not by_platform(WEBSITE_AUTH_ENABLED=said, WEBSITE_INSTANCE_ID="x")


def test_on_a_machine_of_ones_own_nobody_takes_headers_away() -> None:
    assert not by_platform(**ON)
    assert not by_platform(**ON, WEBSITE_INSTANCE_ID="x", FUNCTIONS_CORETOOLS_ENVIRONMENT="True")


def test_a_configuration_alone_says_nothing() -> None:
    assert not by_platform(WEBSITE_AUTH_V2_CONFIG_JSON='{"platform": {"enabled": true}}', WEBSITE_INSTANCE_ID="x")


@pytest.mark.parametrize("tenant", ["common", "contoso.onmicrosoft.com", "72f988bf"])
def test_a_tenant_is_named_by_its_id(tenant: str) -> None:
    read = Values({"IMAGEDELTA_TENANT": tenant})
    read_caller_settings(read)

    assert [problem.partition(" ")[0] for problem in read.problems] == ["IMAGEDELTA_TENANT"]
