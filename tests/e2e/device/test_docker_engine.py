"""The engine ``docker`` on a real dockerd: what holds of every engine, and what holds of this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module.engines import Engine, LayersGone
from tests.e2e.device.docker_place import DockerAndRegistryPlace, DockerPlace
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import Place, listed, make, pulled, sizes_of, write_layers
from tests.engines.suite import APP_1, APP_2, OTHER, EngineSuite
from tests.images import Pack, gzipped, plain

pytestmark = pytest.mark.e2e


class TestDockerStore(EngineSuite):
    MANY = 14

    @pytest.fixture
    def place(self, daemon: DockerDaemon, tmp_path: Path) -> DockerPlace:
        return DockerPlace(daemon, tmp_path)

    @pytest.mark.long
    def test_a_change_costs_little_more_where_many_images_are_present(self, place: Place, engine: Engine) -> None:
        super().test_a_change_costs_little_more_where_many_images_are_present(place, engine)

    @pytest.mark.parametrize(
        "name", ["twice-the-same-layer", pytest.param("many-layers", marks=pytest.mark.long), "odd-config"]
    )
    def test_an_odd_image_is_kept_byte_for_byte(self, place: Place, engine: Engine, name: str) -> None:
        super().test_an_odd_image_is_kept_byte_for_byte(place, engine, name)

    @pytest.mark.parametrize("pack", [plain, gzipped])
    def test_a_source_is_read_anywhere_however_its_layers_are_packed(
        self, place: Place, engine: Engine, pack: Pack
    ) -> None:
        """Docker 20 loads no zstd."""
        super().test_a_source_is_read_anywhere_however_its_layers_are_packed(place, engine, pack)

    @pytest.mark.parametrize("left", [0])
    def test_an_image_with_a_layer_that_was_cut_is_not_whole(self, place: Place, engine: Engine, left: int) -> None:
        """A daemon does not look at its files: it is found by who reads it, as every session and check does."""
        make(engine, APP_1, "app:1")
        make(engine, OTHER, "other:1")

        place.damage(APP_1.image.diff_ids[1], APP_1.layers[1][:left])
        engine.drop_damaged(APP_1.image.diff_ids)

        assert listed(place.engine()) == {OTHER.image_id: ("other:1",)}

    @pytest.mark.parametrize("cut", [True])
    def test_a_damaged_layer_is_found_forgotten_and_made_anew(self, place: Place, engine: Engine, cut: bool) -> None:
        """A daemon that fails at one layer gives none of the image: all of it is made anew."""
        make(engine, APP_1, "app:1")
        make(engine, OTHER, "other:1")
        place.damage(APP_1.image.diff_ids[1], None if cut else b"")

        found = engine.drop_damaged([*APP_1.image.diff_ids, *OTHER.image.diff_ids])

        assert set(found) == set(APP_1.image.diff_ids)
        assert listed(place.engine()) == {OTHER.image_id: ("other:1",)}
        assert engine.drop_damaged(APP_1.image.diff_ids) == ()
        present = make(engine, APP_1, "app:1")
        assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)

    def test_a_source_that_is_removed_under_the_work_is_told_and_the_work_can_start_again(
        self, place: DockerPlace, engine: Engine
    ) -> None:
        """Its layers at the start of the new image were not sent, since the daemon had them."""
        make(engine, APP_1, "app:1")
        with (
            pytest.raises(LayersGone),
            engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work,
        ):
            write_layers(work, APP_2, range(3))
            place.remove_all()
            work.finish(APP_2.image.config)

        present = make(engine, APP_2, "app:2")
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)

    def test_packed_sources_are_told_as_need(self, place: Place, engine: Engine) -> None:
        """Every source is, since its layers come out of an archive."""

        def needed() -> int:
            return sum(need.bytes for need in engine.needs(OTHER.image_id, sizes_of(OTHER), [APP_1.image_id]))

        before = needed()

        place.put(APP_1, gzipped)

        assert needed() >= before + 90_000


class TestDockerAndRegistry(TestDockerStore):
    @pytest.fixture
    def place(
        self, daemon: DockerDaemon, registry: RegistryProcess, tmp_path: Path
    ) -> Iterator[DockerAndRegistryPlace]:
        place = DockerAndRegistryPlace(daemon, registry, tmp_path)
        yield place
        place.close()

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[RegistryProcess]:
        registry = RegistryProcess(tmp_path / "registry")
        yield registry
        registry.stop()

    @pytest.mark.parametrize("name", ["twice-the-same-layer", "odd-config"])
    def test_an_odd_image_is_kept_byte_for_byte(self, place: Place, engine: Engine, name: str) -> None:
        super().test_an_odd_image_is_kept_byte_for_byte(place, engine, name)

    @pytest.mark.parametrize("left", [0])
    def test_an_image_with_a_layer_that_was_cut_is_not_whole(self, place: Place, engine: Engine, left: int) -> None:
        """It is, in the registry: what the Docker store lost is pulled from there when it is asked for."""
        make(engine, APP_1, "app:1")
        place.damage(APP_1.image.diff_ids[1], APP_1.layers[1][:left])
        engine.drop_damaged(APP_1.image.diff_ids)

        assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}
        with engine.begin(OTHER.image_id, "", sizes_of(OTHER), [APP_1.image_id]) as work:
            assert work.find(APP_1.image.diff_ids[1]).read_at(0, 1000) == APP_1.layers[1][:1000]

    @pytest.mark.parametrize("cut", [True])
    def test_a_damaged_layer_is_found_forgotten_and_made_anew(self, place: Place, engine: Engine, cut: bool) -> None:
        """A session that meets it makes it anew."""
        make(engine, APP_1, "app:1")
        place.damage(APP_1.image.diff_ids[0], None if cut else b"")

        assert set(engine.drop_damaged(APP_1.image.diff_ids)) == set(APP_1.image.diff_ids)

        present = make(engine, APP_2, "app:2", [APP_1])
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)
