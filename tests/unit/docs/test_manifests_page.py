from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from imagedelta.errors import RequestError
from planning import manifest as rules
from planning import twin_limits
from planning.layers import _ABOVE_EVERY_BASE
from planning.manifest import module_images, resolve
from tests.unit.test_error_codes import EXPLAINED

PAGE = Path(__file__).parents[3] / "docs" / "manifests.md"


def test_the_template_that_the_page_shows_is_one() -> None:
    template = json.loads(PAGE.read_text("utf-8").partition("```json\n")[2].partition("```")[0])

    manifest = resolve(template, {"MODULES.engine": "fleet.example/propulsion/app:2"})

    assert module_images(manifest) == ("fleet.example/propulsion/app:2",)


def template() -> dict[str, object]:
    found: dict[str, object] = json.loads(PAGE.read_text("utf-8").partition("```json\n")[2].partition("```")[0])
    return found


def test_every_code_that_the_page_names_is_one() -> None:
    known = {code for room in EXPLAINED.values() for code in room}
    named = set(re.findall(r"`((?:request|release|plan)\.[a-z_]+)`", PAGE.read_text("utf-8")))

    assert named - known == set() and len(named) > 8


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    page = PAGE.read_text("utf-8")

    assert f"pieces of {rules._OPTIONS_PIECE} characters" in page
    assert f"any priority below {_ABOVE_EVERY_BASE:,}" in page
    assert f"more than {twin_limits.MAX_MODULES} modules" in page
    assert f"more than {twin_limits.MAX_BYTES >> 10} KiB" in page
    assert f"texts above {twin_limits._MAX_TEXT >> 10} KiB" in page


def test_a_whole_deployment_is_read_as_its_manifest() -> None:
    values = {"MODULES.engine": "fleet.example/propulsion/app:2"}

    assert resolve({"content": template()}, values) == resolve(template(), values)


def test_a_name_without_braces_is_refused_under_credentials_alone() -> None:
    values = {"MODULES.engine": "fleet.example/propulsion/app:2"}
    text = json.dumps(template()).replace(
        '"minDockerVersion": "v1.25"',
        '"minDockerVersion": "v1.25", "registryCredentials": {"fleet": {"password": "$FLEET_PASSWORD"}}',
    )

    assert '"password": "word"' in json.dumps(resolve(json.loads(text), {**values, "FLEET_PASSWORD": "word"}))
    with pytest.raises(RequestError, match="FLEET_PASSWORD") as caught:
        resolve(json.loads(text), values)
    assert caught.value.code == "request.unresolved_placeholder"
    free = json.dumps(template()).replace('"telemetrySeconds": 10', '"note": "$FREE"')
    assert "$FREE" in json.dumps(resolve(json.loads(free), values))
