from __future__ import annotations

import json
from pathlib import Path

from planning.manifest import module_images, resolve

PAGE = Path(__file__).parents[3] / "docs" / "manifests.md"


def test_the_template_that_the_page_shows_is_one() -> None:
    template = json.loads(PAGE.read_text("utf-8").partition("```json\n")[2].partition("```")[0])

    manifest = resolve(template, {"MODULES.engine": "fleet.example/propulsion/app:2"})

    assert module_images(manifest) == ("fleet.example/propulsion/app:2",)
