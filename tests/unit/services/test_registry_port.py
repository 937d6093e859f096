"""What a registry promises to those who read images out of it, held by the simulator that stands for it in tests."""

from __future__ import annotations

import pytest

from imagedelta.errors import DependencyError, DigestMismatch, RequestError
from services.ports import Registry
from tests.images import an_image
from tests.simulators.registry import RegistrySimulator

APP = an_image({"a": bytes(3_000_000)}, references=("app:1",))


@pytest.fixture
def registry() -> RegistrySimulator:
    made = RegistrySimulator()
    made.push("fleet.example/app:1", APP)
    return made


def read(port: Registry, offset: int = 0) -> bytes:
    (image,) = port.resolve("fleet.example/app:1").values()
    return b"".join(port.read_blob("fleet.example/app:1", image.layers[0], offset))


def test_a_reference_gives_images_by_platform_and_a_blob_its_bytes(registry: RegistrySimulator) -> None:
    (platform,) = registry.resolve("fleet.example/app:1")

    assert platform == APP.image.platform
    assert registry.resolve("fleet.example/app:1")[platform].config.digest == APP.image_id
    assert read(registry) == APP.layers[0]


def test_what_came_over_a_link_that_broke_is_good_to_go_on_from(registry: RegistrySimulator) -> None:
    kept = b""
    (image,) = registry.resolve("fleet.example/app:1").values()
    registry.break_after = 1_500_000
    with pytest.raises(DependencyError):
        for piece in registry.read_blob("fleet.example/app:1", image.layers[0]):
            kept += piece

    assert kept + read(registry, len(kept)) == APP.layers[0]
    assert len(kept) == 1_500_000


def test_other_bytes_and_unknown_names_are_told_apart(registry: RegistrySimulator) -> None:
    with pytest.raises(RequestError):
        registry.resolve("fleet.example/other:1")
    (image,) = registry.resolve("fleet.example/app:1").values()
    registry.blobs[image.layers[0].digest] = b"other"
    with pytest.raises(DigestMismatch):
        read(registry)
