"""What holds of every image engine. An engine's test class inherits ``EngineSuite`` and has a fixture ``place``.

Nothing here knows what a place is made of. Figures that depend on it are attributes of the class.
"""

from __future__ import annotations

import json
import random

import pytest

from edge_module.engines import Engine, LayersGone
from imagedelta.archives import image_from_config
from imagedelta.errors import RequestError
from tests.engines.place import Place, killed, listed, make, pulled, sizes_of, write_layers
from tests.images import BuiltImage, Pack, a_layer, an_image, gzipped, plain, zstd_packed


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = {"lib/base": noise(30_000, 1)}
APP_1 = an_image(BASE, {"app/code": noise(60_000, 2)}, references=("app:1",))
APP_2 = an_image(BASE, {"app/code": noise(70_000, 3)}, {"etc/settings": noise(9_000, 4)}, references=("app:2",))
OTHER = an_image({"other": noise(20_000, 5)}, references=("fleet.example:5000/team/other:1",))


class EngineSuite:
    MANY = 40
    """Images present in the larger of two sizes that are compared."""
    COST_PER_IMAGE = 8
    """What an image that is only present may add to the cost of making and naming another one."""

    @pytest.fixture
    def engine(self, place: Place) -> Engine:
        return place.engine()

    # An image becomes visible.

    def test_an_image_is_here_when_its_session_has_finished_and_not_before(self, place: Place, engine: Engine) -> None:
        with engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
            write_layers(work, APP_1, (0, 1))
            assert listed(place.engine()) == {}
            present = work.finish(APP_1.image.config)

        assert (present.image_id, present.diff_ids, present.references) == (APP_1.image_id, APP_1.image.diff_ids, ())
        assert place.engine().images() == [present]
        assert place.leftovers() == []

    def test_what_others_get_under_the_name_and_its_digest_is_the_image(self, place: Place, engine: Engine) -> None:
        present = make(engine, APP_2, "app:2")

        assert present.references == ("app:2",)
        assert place.engine().images() == [present]
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)

    def test_the_digest_under_a_name_is_the_same_on_every_device(self, place: Place, engine: Engine) -> None:
        digest = make(engine, APP_1, "app:1").digest_of("app:1")

        engine.remove_image(APP_1.image_id)

        assert make(place.engine(), APP_1, "app:1").digest_of("app:1") == digest

    def test_a_name_with_a_host_a_port_and_a_path_comes_back_as_it_was_given(
        self, place: Place, engine: Engine
    ) -> None:
        name = OTHER.image.references[0]

        present = make(engine, OTHER, name)

        assert listed(place.engine()) == {OTHER.image_id: (name,)}
        assert place.pull(name, present.digest_of(name)) == pulled(OTHER)

    def test_an_image_of_another_tool_is_listed_with_its_names(self, place: Place) -> None:
        place.put(APP_1, gzipped)

        assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}

    # Work that is cut short.

    def test_after_a_kill_between_two_layers_the_work_goes_on_with_the_next(self, place: Place) -> None:
        with killed(place, APP_2) as work:
            write_layers(work, APP_2, (0, 1))

        engine = place.engine()
        engine.clean()
        with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), ()) as work:
            assert [work.has(diff_id) for diff_id in APP_2.image.diff_ids] == [True, True, False]
            write_layers(work, APP_2, (2,))
            present = work.finish(APP_2.image.config)

        assert engine.images() == [present]
        named = engine.name_image(APP_2.image_id, "app:2")
        assert place.pull("app:2", named.digest_of("app:2")) == pulled(APP_2)

    def test_a_layer_that_was_half_written_at_a_kill_is_not_here_and_leaves_nothing(self, place: Place) -> None:
        with killed(place, APP_1) as work:
            work.begin(APP_1.image.diff_ids[0], len(APP_1.layers[0])).write(APP_1.layers[0][:5000])

        engine = place.engine()
        engine.clean()

        assert place.leftovers() == []
        assert make(engine, APP_1, "app:1").references == ("app:1",)

    def test_a_kill_before_the_image_had_its_name_leaves_it_whole_and_it_can_be_named(self, place: Place) -> None:
        with killed(place, APP_1) as work:
            write_layers(work, APP_1, (0, 1))
            work.finish(APP_1.image.config)

        engine = place.engine()
        engine.clean()

        assert listed(engine) == {APP_1.image_id: ()}
        assert engine.name_image(APP_1.image_id, "app:1").references == ("app:1",)

    def test_an_aborted_layer_is_not_here_and_can_be_written_anew(self, place: Place, engine: Engine) -> None:
        with engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
            work.begin(APP_1.image.diff_ids[0], len(APP_1.layers[0])).write(b"wrong from the first byte on")
            work.abort(APP_1.image.diff_ids[0])
            assert not work.has(APP_1.image.diff_ids[0])
            write_layers(work, APP_1, (0, 1))
            work.finish(APP_1.image.config)

        assert listed(engine) == {APP_1.image_id: ()}
        assert place.leftovers() == []

    def test_work_that_fails_leaves_no_half_written_layer_and_keeps_the_whole_ones(
        self, place: Place, engine: Engine
    ) -> None:
        with (
            pytest.raises(ZeroDivisionError),
            engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work,
        ):
            write_layers(work, APP_1, (0,))
            work.begin(APP_1.image.diff_ids[1], len(APP_1.layers[1])).write(b"half")
            raise ZeroDivisionError

        assert place.leftovers() == []
        assert listed(engine) == {}
        with engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
            assert [work.has(diff_id) for diff_id in APP_1.image.diff_ids] == [True, False]

    def test_a_layer_that_vanishes_under_the_work_is_told_and_the_work_can_start_again(
        self, place: Place, engine: Engine
    ) -> None:
        with pytest.raises(LayersGone), engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
            write_layers(work, APP_1, (0, 1))
            place.damage(APP_1.image.diff_ids[0], None)
            work.finish(APP_1.image.config)

        assert listed(engine) == {}
        present = make(engine, APP_1, "app:1")
        assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)

    def test_a_finished_image_can_be_made_once_more_without_harm(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1, "app:1")

        with engine.begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
            assert all(work.has(diff_id) for diff_id in APP_1.image.diff_ids)
            work.finish(APP_1.image.config)

        assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}

    # Names.

    def test_names_move_and_no_image_is_lost_by_it(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1, "app:1")
        make(engine, APP_2, "app:2")

        for image in (APP_2, APP_1, APP_2):
            assert "app:1" in engine.name_image(image.image_id, "app:1").references
            engine.name_image(image.image_id, "app:latest")

        assert listed(place.engine()) == {APP_1.image_id: (), APP_2.image_id: ("app:1", "app:2", "app:latest")}
        named = engine.name_image(APP_1.image_id, "app:1")
        assert place.pull("app:1", named.digest_of("app:1")) == pulled(APP_1)

    def test_an_image_with_names_in_two_repositories_is_pulled_from_both(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1, "app:1")

        present = engine.name_image(APP_1.image_id, "fleet.example:5000/team/app:1")

        assert present.references == ("app:1", "fleet.example:5000/team/app:1")
        for name in present.references:
            assert place.pull(name, present.digest_of(name)) == pulled(APP_1)

    def test_giving_an_image_the_name_it_has_changes_nothing(self, place: Place, engine: Engine) -> None:
        present = make(engine, APP_1, "app:1")

        assert engine.name_image(APP_1.image_id, "app:1") == present
        assert place.engine().images() == [present]

    def test_an_image_that_is_not_here_gets_no_name(self, engine: Engine) -> None:
        with pytest.raises(RequestError) as raised:
            engine.name_image(APP_1.image_id, "app:1")
        assert raised.value.code == "device.unknown_image"

    # Removing.

    def test_removing_an_image_keeps_the_layers_and_names_of_the_others(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1, "app:1")
        present = make(engine, APP_2, "app:2")

        engine.remove_image(APP_1.image_id)

        assert place.engine().images() == [present]
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)
        with pytest.raises(RequestError) as raised:
            engine.remove_image(APP_1.image_id)
        assert raised.value.code == "device.unknown_image"

    def test_an_image_without_a_name_can_be_removed_and_made_again(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1)

        engine.remove_image(APP_1.image_id)
        assert listed(place.engine()) == {}

        present = make(engine, APP_1, "app:1")
        assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)

    def test_collecting_takes_nothing_that_an_image_needs(self, place: Place, engine: Engine) -> None:
        present = make(engine, APP_2, "app:2")
        make(engine, OTHER)
        with killed(place, APP_1) as work:
            write_layers(work, APP_1, (0, 1))

        assert engine.collect() >= 0

        assert listed(place.engine()) == {APP_2.image_id: ("app:2",), OTHER.image_id: ()}
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)

    # Damage.

    @pytest.mark.parametrize("left", [0, 100])
    def test_an_image_with_a_layer_that_was_cut_is_not_whole(self, place: Place, engine: Engine, left: int) -> None:
        make(engine, APP_1, "app:1")
        make(engine, OTHER, "other:1")

        place.damage(APP_1.image.diff_ids[1], APP_1.layers[1][:left])

        assert listed(place.engine()) == {OTHER.image_id: ("other:1",)}

    @pytest.mark.parametrize("cut", [True, False])
    def test_a_damaged_layer_is_found_forgotten_and_made_anew(self, place: Place, engine: Engine, cut: bool) -> None:
        make(engine, APP_1, "app:1")
        make(engine, OTHER, "other:1")
        rotten = bytearray(APP_1.layers[1])
        rotten[2000] ^= 1
        place.damage(APP_1.image.diff_ids[1], b"" if cut else bytes(rotten))

        assert engine.drop_damaged([*APP_1.image.diff_ids, *OTHER.image.diff_ids]) == (APP_1.image.diff_ids[1],)

        assert listed(place.engine()) == {OTHER.image_id: ("other:1",)}
        assert engine.drop_damaged(APP_1.image.diff_ids) == ()
        present = make(engine, APP_1, "app:1")
        assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)

    def test_the_work_does_not_count_on_a_damaged_layer(self, place: Place, engine: Engine) -> None:
        make(engine, APP_1, "app:1")
        rotten = bytearray(APP_1.layers[0])
        rotten[2000] ^= 1
        place.damage(APP_1.image.diff_ids[0], bytes(rotten))

        with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), ()) as work:
            assert not work.has(APP_2.image.diff_ids[0])
            write_layers(work, APP_2, range(3))
            work.finish(APP_2.image.config)

        present = engine.name_image(APP_2.image_id, "app:2")
        assert place.pull("app:2", present.digest_of("app:2")) == pulled(APP_2)

    # Sources.

    @pytest.mark.parametrize("pack", [plain, gzipped, zstd_packed])
    def test_a_source_is_read_anywhere_however_its_layers_are_packed(
        self, place: Place, engine: Engine, pack: Pack
    ) -> None:
        place.put(APP_1, pack)

        with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work:
            for diff_id, tar in zip(APP_1.image.diff_ids, APP_1.layers, strict=True):
                layer = work.find(diff_id)
                assert layer.size == len(tar)
                for at, length in ((len(tar) - 700, 700), (512, 1000), (0, 1), (len(tar), 0)):
                    assert layer.read_at(at, length) == tar[at : at + length]
            assert work.config(APP_1.image_id) == APP_1.image.config

        assert place.leftovers() == []

    def test_a_layer_or_config_that_no_source_has_is_a_key_error(self, place: Place, engine: Engine) -> None:
        place.put(APP_1)

        with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work:
            with pytest.raises(KeyError):
                work.find(OTHER.image.diff_ids[0])
            with pytest.raises(KeyError):
                work.config(OTHER.image_id)

    @pytest.mark.parametrize("pack", [plain, gzipped])
    def test_an_image_is_made_from_layers_that_another_one_has(self, place: Place, engine: Engine, pack: Pack) -> None:
        place.put(APP_1, pack)

        with engine.begin(APP_2.image_id, "fleet.example/app:2", sizes_of(APP_2), [APP_1.image_id]) as work:
            base = APP_2.image.diff_ids[0]
            if not work.has(base):
                layer = work.find(base)
                work.begin(base, layer.size).write(layer.read_at(0, layer.size))
                work.commit(base)
            write_layers(work, APP_2, (1, 2))
            work.finish(APP_2.image.config)

        present = engine.name_image(APP_2.image_id, "fleet.example/app:2")
        digest = present.digest_of("fleet.example/app:2")
        assert place.pull("fleet.example/app:2", digest) == pulled(APP_2)
        assert listed(engine)[APP_1.image_id] == ("app:1",)

    # Odd images.

    @pytest.mark.parametrize("name", ["twice-the-same-layer", "many-layers", "odd-config"])
    def test_an_odd_image_is_kept_byte_for_byte(self, place: Place, engine: Engine, name: str) -> None:
        image = ODD[name]

        present = make(engine, image, "odd:1")

        assert present.diff_ids == image.image.diff_ids
        assert place.engine().images() == [present]
        assert place.pull("odd:1", present.digest_of("odd:1")) == pulled(image)

    def test_two_images_of_the_same_layers_are_two_images(self, place: Place, engine: Engine) -> None:
        twin = an_image(BASE, {"app/code": noise(60_000, 2)}, note="another config")

        make(engine, APP_1, "app:1")
        present = make(engine, twin, "twin:1")
        engine.remove_image(APP_1.image_id)

        assert place.engine().images() == [present]
        assert place.pull("twin:1", present.digest_of("twin:1")) == pulled(twin)

    # Room, identity, cost.

    def test_what_has_to_be_written_is_told_as_need_and_what_is_here_is_not(self, engine: Engine) -> None:
        def needed() -> int:
            return sum(need.bytes for need in engine.needs(APP_1.image_id, sizes_of(APP_1), ()))

        before = needed()
        assert before >= sum(map(len, APP_1.layers))

        make(engine, APP_1, "app:1")

        assert needed() <= before - 0.9 * sum(map(len, APP_1.layers))

    def test_packed_sources_are_told_as_need(self, place: Place, engine: Engine) -> None:
        def needed() -> int:
            return sum(need.bytes for need in engine.needs(APP_2.image_id, sizes_of(APP_2), [APP_1.image_id]))

        before = needed()

        place.put(APP_1, gzipped)

        assert needed() >= before + sum(map(len, APP_1.layers[1:]))

    def test_the_installation_id_stays(self, place: Place, engine: Engine) -> None:
        first = engine.installation_id()
        make(engine, APP_1, "app:1")
        engine.remove_image(APP_1.image_id)

        assert first
        assert [engine.installation_id(), place.engine().installation_id()] == [first, first]
        assert listed(engine) == {}

    def test_cleaning_at_start_takes_nothing_that_is_whole(self, place: Place, engine: Engine) -> None:
        present = make(engine, APP_1, "app:1")

        engine.clean()

        assert place.engine().images() == [present]
        assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)

    def test_a_change_costs_little_more_where_many_images_are_present(self, place: Place, engine: Engine) -> None:
        def cost(number: int) -> int:
            before = place.cost()
            make(engine, an_image(BASE, {"change": noise(4000, 1000 + number)}), f"change:{number}")
            return place.cost() - before

        def fill(start: int, end: int) -> None:
            for number in range(start, end):
                make(engine, an_image(BASE, {"n": noise(500, 2000 + number)}), f"team{number % 7}/app{number}:1")

        fill(0, 10)
        few = cost(1)
        fill(10, self.MANY)
        many = cost(2)

        assert many - few <= self.COST_PER_IMAGE * (self.MANY - 10), f"{few} with 10 images, {many} with {self.MANY}"


def _odd_config() -> BuiltImage:
    """As Docker never writes it: spaces, order, unknown and deep fields, other letters, no time, odd history."""
    layer = a_layer({"a": b"1"})
    digest = image_from_config(an_image(layer).image.config).diff_ids[0]
    config = {
        "x-vendor": {"ключ": ["😀", "\u2028", 1e300, -0.0, None, {"deep": [[[[[]]]]]}]},
        "rootfs": {"diff_ids": [digest], "type": "layers"},
        "architecture": "amd64",
        "os": "linux",
        "history": [{"created_by": "x" * 5000, "empty_layer": True}, {"comment": "</script>"}],
        "config": {"Env": ["A=é", "B="], "Labels": {"": ""}, "Cmd": None},
    }
    text = json.dumps(config, indent=3, ensure_ascii=False) + "\n\n"
    return BuiltImage(image_from_config(text.encode()), (layer,))


def _empty_twice() -> BuiltImage:
    empty = a_layer({})
    return an_image(empty, {"a": b"1"}, empty, {"b": b"2"}, empty)


ODD = {
    "twice-the-same-layer": _empty_twice(),
    "many-layers": an_image(*({f"file{number}": bytes([number])} for number in range(100))),
    "odd-config": _odd_config(),
}
