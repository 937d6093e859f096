"""A device and whatever links, disks and strangers may do to it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulators.files import MODES, PowerCut
from tests.unit.edge.world import APP_1, APP_2, World, make_bundle

QUICK = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(
    cut_every=st.integers(500, 60_000),
    piece=st.sampled_from([100, 1000, 5000, 70_000]),
    stops=st.lists(st.integers(1, 12), max_size=4),
)
def test_however_the_link_is_cut_and_the_module_stopped_each_byte_comes_once(
    cut_every: int, piece: int, stops: list[int]
) -> None:
    world = World(APP_1)
    world.outbox.piece_bytes = piece
    world.outbox.cut_every = max(cut_every, piece)
    bundle = make_bundle()
    world.publish(bundle)

    for turns in stops:
        device = world.boot()
        world.turn(device, turns, seconds=0.5)
        device.stop()
    world.run(turns=5000)

    assert world.final_report() == ("succeeded", None)
    assert world.outbox.served[bundle.name] <= len(bundle.data) + piece * (len(stops) + 1)


@QUICK
@given(data=st.data())
def test_no_changed_byte_of_a_bundle_makes_another_image_and_the_right_bytes_still_do(data: st.DataObject) -> None:
    world = World(APP_1)
    bundle = make_bundle()
    at = data.draw(st.integers(0, len(bundle.data) - 1))
    changed = bytearray(bundle.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    world.drop_into_inbox(replace(bundle, data=bytes(changed)))
    device = world.boot()

    world.turn(device, 20, seconds=3.0)

    assert world.image_ids() in ({APP_1.image_id}, {APP_1.image_id, APP_2.image_id})
    assert set(world.leftovers()) <= {f"inbox/{bundle.name}"}

    world.drop_into_inbox(bundle)
    world.run(device)

    assert world.image_ids() == {APP_1.image_id, APP_2.image_id}
    assert world.leftovers() == []


@QUICK
@given(content=st.binary(max_size=3000))
def test_any_bytes_in_the_inbox_change_no_image_and_stay_or_are_set_aside(content: bytes) -> None:
    world = World(APP_1)
    world.disk.make_folders("inbox")
    world.disk.put("inbox/stranger.bundle", content)

    world.turn(world.boot(), 20, seconds=3.0)

    assert world.image_ids() == {APP_1.image_id}
    assert set(world.leftovers()) <= {"inbox/stranger.bundle"}


@QUICK
@given(cuts=st.lists(st.tuples(st.integers(1, 250), st.sampled_from(["killed", *MODES])), max_size=5))
def test_any_sequence_of_kills_and_power_cuts_ends_in_one_success(cuts: list[tuple[int, str]]) -> None:
    world = World(APP_1)
    world.outbox.piece_bytes = 8192
    world.publish(make_bundle())

    for at, how in cuts:
        world.disk.cut_power_at(at)
        try:
            world.run()
        except PowerCut:
            world.disk.restart() if how == "killed" else world.disk.reboot(how, seed=at)  # type: ignore[arg-type]
    world.disk.cut_power_at(1 << 40)
    world.run()

    assert world.references() == {"app:1": APP_1.image_id, "app:2": APP_2.image_id}
    assert [report.state for report in world.hub.reports].count("succeeded") == 1
    assert world.leftovers() == []
