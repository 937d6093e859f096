"""register_image on the real SDK: patches are prepared once the images are there, and that fails no registration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.orchestrators.workflow import Workflow, final, ok

pytestmark = [
    pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Potential duplicate Task completion:UserWarning"),
]

REGISTRATION = {"registrationId": "r1"}
READ = ok(images={"linux/amd64": "sha256:1"}, code=None)


def raising(payload: dict[str, Any]) -> Any:
    raise OSError("busy")


@pytest.mark.parametrize(
    ("answers", "steps"),
    [
        ({"read_image": READ, "prepare_patches": ok(patches=2)}, ["read_image", "prepare_patches", "start_due"]),
        ({"read_image": READ, "prepare_patches": ok(patches=0)}, ["read_image", "prepare_patches"]),
        ({"read_image": READ, "prepare_patches": final("internal")}, ["read_image", "prepare_patches"]),
        ({"read_image": READ, "prepare_patches": raising}, ["read_image", *["prepare_patches"] * 5]),
        ({"read_image": ok(images={}, code="request.no_image")}, ["read_image"]),
    ],
    ids=["patches", "none", "refused", "for ever", "no image"],
)
def test_patches_are_prepared_for_images_that_are_registered(
    answers: dict[str, Any], steps: list[str], tmp_path: Path
) -> None:
    flow = Workflow(start_due=ok(), **answers)

    status, _ = flow.run("register_image", REGISTRATION, tmp_path)

    assert (status, flow.names) == ("Completed", steps)
