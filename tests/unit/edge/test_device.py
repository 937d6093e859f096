"""One device and its bundles, from the outbox to the report."""

from __future__ import annotations

from tests.unit.edge.world import APP_1, APP_2, World, make_bundle


def test_a_bundle_in_the_outbox_becomes_an_image_and_one_success() -> None:
    world = World(APP_1)
    bundle = make_bundle()
    world.publish(bundle)

    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert world.states() == ["receiving", "received", "applying", "succeeded"]
    assert world.leftovers() == []
    assert world.outbox.served[bundle.name] == len(bundle.data)
