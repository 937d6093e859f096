"""Whatever is true of a device, housekeeping takes no image that anybody may need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_module.engines import ImageName, PresentImage
from edge_module.journal import FINAL, Job
from edge_module.old_images import GRACE_SECONDS, Facts, Grace, dispensable
from imagedelta.archives import sha256_id

IDS = [sha256_id(bytes([number])) for number in range(8)]
STATES = ["receiving", "received", "applying", "blocked", "succeeded", "failed", "source_missing"]
ids = st.sampled_from(IDS)
names = st.sampled_from([f"{repository}:{tag}" for repository in ("app", "fleet.example/app", "db") for tag in "123"])


@st.composite
def images(draw: st.DrawFn) -> list[PresentImage]:
    present = draw(st.lists(ids, unique=True))
    given_to = {name: draw(st.sampled_from(present)) for name in draw(st.sets(names))} if present else {}
    return [
        PresentImage(each, (), tuple(ImageName(name, None) for name, to in sorted(given_to.items()) if to == each))
        for each in present
    ]


@st.composite
def jobs(draw: st.DrawFn) -> list[Job]:
    made = draw(st.lists(st.tuples(ids, st.sampled_from(STATES), st.integers(1, 50), st.booleans()), max_size=12))
    return [
        Job(f"t-{number}", 1, image, f"b-{number}", order, state, sealed=sealed)
        for number, (image, state, order, sealed) in enumerate(made)
    ]


facts = st.builds(Facts, images(), jobs(), st.frozensets(ids), st.none() | st.frozensets(ids))


@given(facts)
def test_nothing_goes_that_is_kept_needed_under_way_or_not_of_the_cloud(facts: Facts) -> None:
    gone = set(dispensable(facts))

    assert gone <= {image.image_id for image in facts.images}
    assert not gone & set(facts.keep)
    assert not gone & set(facts.needed or IDS)
    assert not gone & {job.image_id for job in facts.jobs if job.state not in FINAL}
    assert gone <= {job.image_id for job in facts.jobs if job.state == "succeeded" and job.sealed}
    assert not gone or facts.keep


@given(facts)
def test_no_repository_loses_its_last_image_or_the_one_that_was_brought_last(facts: Facts) -> None:
    gone = set(dispensable(facts))
    brought = {job.image_id: 0 for job in facts.jobs}
    for job in facts.jobs:
        if job.sealed and job.state == "succeeded":
            brought[job.image_id] = max(brought[job.image_id], job.number)

    for repository in ("app", "fleet.example/app", "db"):
        of = [each for each in facts.images if any(name.startswith(f"{repository}:") for name in each.references)]
        if of:
            assert {each.image_id for each in of} - gone
            newest = max(brought.get(each.image_id, -1) for each in of)
            assert any(brought.get(each.image_id, -1) == newest for each in of if each.image_id not in gone)


@given(facts, st.sets(ids))
def test_a_longer_list_of_images_to_keep_never_takes_more(facts: Facts, more: set[str]) -> None:
    longer = Facts(facts.images, facts.jobs, {*facts.keep, *more}, facts.needed)

    assert not facts.keep or set(dispensable(longer)) <= set(dispensable(facts))


@given(st.lists(st.tuples(st.floats(0, 2 * GRACE_SECONDS), st.frozensets(ids), st.integers(0, 2)), max_size=20))
def test_an_image_goes_only_after_a_day_in_which_it_was_dispensable_throughout_and_a_fresh_twin(
    steps: list[tuple[float, frozenset[str], int]],
) -> None:
    now, fetches = 0.0, 1
    grace = Grace(lambda: now)
    since: dict[str, float] = {}
    ripe: dict[str, int] = {}

    for seconds, found, fetched in steps:
        now, fetches = now + seconds, fetches + fetched
        since = {each: since.get(each, now) for each in found}
        ripe = {each: ripe.get(each, fetches) for each in found if now - since[each] >= GRACE_SECONDS}

        over = set(grace.over(sorted(found), fetches))

        assert over == {each for each in ripe if fetches > ripe[each]}
