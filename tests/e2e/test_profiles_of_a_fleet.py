"""One fleet of modules of several ages, all real processes: each gets patches in the best form that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cloud_process import CloudProcess
from tests.e2e.real_ship import RealShip
from tests.images import an_image, docker_save
from tests.unit.delta.predict.programs import a_library

pytestmark = pytest.mark.e2e

OLD = an_image({"usr/lib/libx.so": a_library(900)}, references=("app:1",))
NEW = an_image({"usr/lib/libx.so": a_library(900, {450: bytes(700)})}, references=("app:2",))


class OfFirstFormat(RealShip):
    """A module from before the second format."""

    program = ("-m", "tests.e2e.lesser_module", "v2-")


class WithoutNative(RealShip):
    """A module that has no package imagedelta-native."""

    program = ("-m", "tests.e2e.lesser_module", "-cm")


def test_each_device_gets_the_best_form_that_it_reads(tmp_path: Path) -> None:
    cloud = CloudProcess(tmp_path)
    ships: dict[str, RealShip] = {}
    try:
        for image in (OLD, NEW):
            assert cloud.register(docker_save(image))["state"] == "registered"
        for kind in (OfFirstFormat, WithoutNative, RealShip):
            ships[kind.__name__] = kind(cloud, kind.__name__, tmp_path, OLD)
        path = cloud.start(*ships, images=["app:2"])
        sent = {name: ship.arrived(path)["bundleBytes"] for name, ship in ships.items()}
        patches = cloud.items("/api/patches")
    finally:
        for ship in ships.values():
            ship.stop()
        cloud.stop()

    assert sorted(patch["profile"] for patch in patches) == ["v1-64m", "v2-64m", "v2-64m-cm"]
    assert sent["OfFirstFormat"] > sent["WithoutNative"] > sent["RealShip"]
