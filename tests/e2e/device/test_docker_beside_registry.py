"""The engine ``registry`` with a Docker socket beside it: adoption into the registry, last pull out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_module.adoption import Adoption
from edge_module.engines.docker_daemon import Daemon
from edge_module.engines.docker_files import DockerFiles
from edge_module.engines.docker_images import DaemonImages
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import RegistryClient
from edge_module.engines.unpacked import DEVICE_LIMITS
from edge_module.files import DiskFiles
from edge_module.last_pull import LastPulls
from imagedelta.archives import sha256_id
from imagedelta.archives.oci_json import manifest_bytes
from tests.e2e.device.docker_place import damage_loaded, inspected, remove_all, saved
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, make, pulled
from tests.engines.suite import APP_1, APP_2, ODD, OTHER, noise
from tests.images import BuiltImage, an_image, docker_save

pytestmark = pytest.mark.e2e


@dataclass
class Both:
    dockerd: DockerDaemon
    registry: RegistryProcess
    engine: RegistryEngine
    root: Path

    def store(self, address: str = "") -> tuple[DaemonImages, DockerFiles]:
        files = DockerFiles(DiskFiles(self.root))
        return DaemonImages(Daemon(address or self.dockerd.host), files, DEVICE_LIMITS), files

    def adopt(self) -> list[str]:
        adoption = Adoption(self.store()[0], self.engine, self.registry.address, 0)
        return [image_id for image_id in adoption.adopt_all() if image_id]

    def load(self, *images: BuiltImage) -> None:
        self.dockerd.docker("load", stdin=docker_save(*images))

    def last_pull(self, *images: BuiltImage) -> set[str]:
        pulls = LastPulls(*self.store(), self.engine, self.registry.address, lambda: None)
        return pulls.pull([image.image_id for image in images])


@pytest.fixture
def both(daemon: DockerDaemon, tmp_path: Path) -> Iterator[Both]:
    remove_all(daemon)
    registry = RegistryProcess(tmp_path / "registry")
    try:
        with closing(RegistryClient(registry.url)) as client:
            engine = RegistryEngine(client, DiskFiles(tmp_path / "module"))
            yield Both(daemon, registry, engine, tmp_path / "module")
    finally:
        registry.stop()


def our_digest(image: BuiltImage) -> str:
    return sha256_id(manifest_bytes(image.image, [len(layer) for layer in image.layers]))


def test_images_of_the_docker_store_are_adopted_with_the_digest_that_every_device_has(both: Both) -> None:
    both.load(APP_1, OTHER, ODD["twice-the-same-layer"])

    adopted = both.adopt()

    assert set(adopted) == {APP_1.image_id, OTHER.image_id}  # the third has no name
    assert listed(both.engine) == {APP_1.image_id: ("app:1",), OTHER.image_id: OTHER.image.references}
    digests = {image.image_id: image.digest_of(image.references[0]) for image in both.engine.images()}
    assert digests == {image.image_id: our_digest(image) for image in (APP_1, OTHER)}
    assert both.adopt() == []


def test_what_was_adopted_is_pulled_from_the_registry(both: Both, tmp_path: Path) -> None:
    odd = an_image(*ODD["twice-the-same-layer"].layers, references=("odd:1",))
    both.load(odd)
    both.adopt()
    remove_all(both.dockerd)

    name = f"{both.registry.address}/odd@{our_digest(odd)}"
    both.dockerd.docker("pull", "-q", name)

    assert saved(both.dockerd, name, tmp_path / "saved.tar") == pulled(odd)


def test_adopting_moves_no_name_that_the_registry_has_given(both: Both) -> None:
    make(both.engine, APP_2, "app:1")
    both.load(APP_1)

    both.adopt()

    assert listed(both.engine) == {APP_1.image_id: (), APP_2.image_id: ("app:1",)}


def test_an_image_of_the_registry_itself_is_known_under_its_own_name(both: Both) -> None:
    """Docker calls it by the registry's address, which is no part of its name."""
    both.load(APP_1)
    both.dockerd.docker("tag", "app:1", f"{both.registry.address}/team/app:1")
    both.dockerd.docker("rmi", "app:1")

    both.adopt()

    assert listed(both.engine) == {APP_1.image_id: ("team/app:1",)}


def test_a_damaged_image_is_not_adopted_and_the_others_are(both: Both) -> None:
    both.load(an_image({"x": noise(5000, 77)}, references=("rotten:1",)), OTHER)
    rotten = inspected(both.dockerd, "rotten:1")
    damage_loaded(both.dockerd, rotten["RootFS"]["Layers"][0])

    assert both.adopt() == [OTHER.image_id]
    assert listed(both.engine) == {OTHER.image_id: OTHER.image.references}


def test_adoption_goes_on_after_the_registry_was_away(both: Both) -> None:
    both.load(APP_1, OTHER)
    both.registry.kill()
    with pytest.raises(Exception, match=r"registry|refused|answer"):
        both.adopt()
    both.registry.start()

    assert set(both.adopt()) == {APP_1.image_id, OTHER.image_id}


def test_a_last_pull_puts_the_image_under_the_names_that_a_manifest_uses(both: Both, tmp_path: Path) -> None:
    make(both.engine, APP_2, "fleet.example/team/app:2")

    assert both.last_pull(APP_2) == {APP_2.image_id}

    address = both.registry.address
    both.registry.stop()  # nothing has to be pulled any more
    for name in (f"{address}/team/app:2", f"{address}/team/app@{our_digest(APP_2)}"):
        assert inspected(both.dockerd, name)["Id"] == APP_2.image_id
    assert saved(both.dockerd, f"{address}/team/app:2", tmp_path / "saved.tar") == pulled(APP_2)


def test_a_last_pull_moves_the_tag_and_takes_the_newest_of_a_repository(both: Both) -> None:
    make(both.engine, APP_1, "app:now")
    both.last_pull(APP_1)
    make(both.engine, APP_2, "app:now")

    assert both.last_pull(APP_1, APP_2) == {APP_1.image_id, APP_2.image_id}

    assert inspected(both.dockerd, f"{both.registry.address}/app:now")["Id"] == APP_2.image_id


def test_a_daemon_that_is_away_holds_up_nothing(both: Both, tmp_path: Path) -> None:
    make(both.engine, APP_1, "app:1")

    pulls = LastPulls(*both.store(f"unix://{tmp_path}/nobody.sock"), both.engine, both.registry.address, lambda: None)

    assert pulls.pull([APP_1.image_id]) == set()


def test_a_last_pull_reads_no_layer_that_the_docker_store_has(both: Both) -> None:
    make(both.engine, APP_1, "app:1")
    both.last_pull(APP_1)
    make(both.engine, APP_2, "app:2")
    base = both.registry.blob_file(APP_2.image.diff_ids[0])
    base.write_bytes(bytes(base.stat().st_size))  # whoever reads it finds another digest

    assert both.last_pull(APP_2) == {APP_2.image_id}


def test_of_several_images_of_a_repository_the_newest_is_pulled(both: Both) -> None:
    make(both.engine, APP_1, "app:1")
    make(both.engine, APP_2, "app:2")

    both.last_pull(APP_2, APP_1)

    assert both.dockerd.docker("images", "--format", "{{.Tag}}").split() == ["1"]


def test_an_image_whose_pull_the_power_cut_short_is_pulled_anew(both: Both, tmp_path: Path) -> None:
    """The daemon has noted it; its files were not on the disk yet."""
    make(both.engine, APP_1, "app:1")

    class Cut(BaseException):
        """Nothing that handles errors handles it."""

    def cut() -> None:
        raise Cut

    with pytest.raises(Cut):
        LastPulls(*both.store(), both.engine, both.registry.address, cut).pull([APP_1.image_id])
    damage_loaded(both.dockerd, APP_1.image.diff_ids[1])

    assert both.last_pull(APP_1) == {APP_1.image_id}

    assert saved(both.dockerd, f"{both.registry.address}/app:1", tmp_path / "saved.tar") == pulled(APP_1)
    assert both.store()[1].loading() == []
