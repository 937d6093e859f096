from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from contracts.records import FullBundle
from planning import link_tags
from planning.dry_run import page_of, plan_answer
from planning.facts import FleetFacts, Unreadable, Wanted
from planning.guard import costs_of
from planning.plan import PlannedDevice, plan_fleet, wanted_images
from planning.priorities import parse_rules
from tests.images import BuiltImage
from tests.unit.planning.facts import (
    APP_1,
    APP_2,
    PLATFORM,
    RECON,
    RECORDS,
    SIGNATURES,
    STRANGER,
    TOOL,
    a_device,
    a_policy,
    facts,
    has,
    limits,
    wanted,
)


def only(of: FleetFacts, *images: Wanted, **policy: object) -> PlannedDevice:
    (planned,) = plan_fleet(of, images or wanted(APP_2), a_policy(**policy))
    return planned


# ------------------------------------------------------------ what is sent


def test_a_device_that_has_everything_is_ready_and_gets_nothing() -> None:
    planned = only(facts({"ship-1": has(APP_2, APP_1)}))

    (image,) = planned.images
    assert (planned.state, planned.spending.bytes) == ("ready", 0)
    assert (image.already_present, image.sources, image.estimated_bytes) == (True, (), 0)


def test_what_a_device_lacks_is_planned_from_what_it_has() -> None:
    planned = only(facts({"ship-1": has(APP_1, TOOL)}), *wanted(APP_2, TOOL))

    states = {image.reference: (image.already_present, image.sources) for image in planned.images}
    assert planned.state == "planned"
    assert states == {"fleet.example/app:2": (False, (APP_1.image_id,)), "fleet.example/tool:1": (True, ())}
    assert 0 < planned.spending.bytes == sum(image.estimated_bytes for image in planned.images)


def test_the_modules_own_image_is_the_second_source() -> None:
    planned = only(facts({"ship-1": has(APP_1, RECON)}))

    assert planned.images[0].sources == (APP_1.image_id, RECON.image_id)


def test_the_modules_own_image_is_known_by_the_name_the_device_gives_it() -> None:
    images = {**RECORDS, RECON.image_id: replace(RECORDS[RECON.image_id], references=())}
    named = has(RECON, references=("localhost:5000/imagereconstruction:7",))

    planned = only(facts({"ship-1": (*has(APP_1), *named)}, images=images))

    assert planned.images[0].sources == (APP_1.image_id, RECON.image_id)


def test_sources_that_the_device_reported_missing_are_not_used() -> None:
    refused = {("ship-1", APP_2.image_id): frozenset({APP_1.image_id, RECON.image_id})}
    present = has(APP_1, TOOL, RECON)

    first, second = plan_fleet(
        facts({"ship-1": present, "ship-2": present}, refused=refused), wanted(APP_2), a_policy()
    )

    assert first.images[0].sources == (TOOL.image_id,)
    assert second.images[0].sources == (APP_1.image_id, RECON.image_id)


def test_images_that_are_not_registered_are_no_sources() -> None:
    planned = only(
        facts(
            {"ship-1": has(APP_1)},
            images={APP_2.image_id: RECORDS[APP_2.image_id]},
            signatures={APP_2.image_id: SIGNATURES[APP_2.image_id]},
        )
    )

    assert (planned.images[0].sources, planned.images[0].is_full) == ((), True)


def unregistered(*known: BuiltImage) -> dict[str, Any]:
    """Facts in which only these are registered."""
    return {
        "images": {built.image_id: RECORDS[built.image_id] for built in known},
        "signatures": {built.image_id: SIGNATURES[built.image_id] for built in known},
    }


def test_an_older_image_of_the_repository_that_is_not_registered_is_named() -> None:
    odd = has(RECON, references=("No Name",))
    present = (*has(APP_1, references=("localhost:5000/fleet.example/app:1",)), *has(TOOL), *odd)

    first = only(facts({"ship-1": present}, **unregistered(APP_2, TOOL))).images[0]
    alone = only(facts({"ship-1": present}, **unregistered(APP_2))).images[0]

    assert (first.sources, first.source_references) == ((TOOL.image_id,), ("fleet.example/tool:1",))
    assert first.unregistered == alone.unregistered == ("localhost:5000/fleet.example/app:1",)
    assert alone.is_full


def test_an_unregistered_image_is_no_news_where_another_of_its_repository_serves() -> None:
    present = (*has(APP_1), *has(STRANGER, references=("fleet.example/app:0",)))

    (image,) = only(facts({"ship-1": present}, **unregistered(APP_1, APP_2))).images

    assert (image.sources, image.unregistered) == ((APP_1.image_id,), ())


def test_a_full_bundle_names_what_is_not_registered() -> None:
    present = has(APP_1, references=("app:1",))

    (cost,) = costs_of([only(facts({"ship-1": present}, **unregistered(APP_2)))])

    assert cost.full == (FullBundle("fleet.example/app:2", ("app:1",)),)


def test_an_image_whose_signature_cannot_be_read_fails_whom_it_must_be_sent_to_and_nobody_else() -> None:
    damaged = {APP_2.image_id: Unreadable("content.missing", "the signature is gone")}
    signatures = {APP_1.image_id: SIGNATURES[APP_1.image_id]}

    lacking, having = plan_fleet(
        facts({"ship-1": has(APP_1), "ship-2": has(APP_2)}, signatures=signatures, unreadable=damaged),
        wanted(APP_2),
        a_policy(),
    )

    assert (lacking.state, lacking.code, lacking.detail) == ("failed", "content.missing", "the signature is gone")
    assert having.state == "ready"


def test_two_names_of_one_image_travel_once() -> None:
    names = (Wanted("a:1", ("a",), {PLATFORM: APP_2.image_id}), Wanted("b:1", ("b",), {PLATFORM: APP_2.image_id}))

    assert [image.reference for image in only(facts({"ship-1": has(APP_1)}), *names).images] == ["a:1"]


def test_the_order_overrides_the_rules() -> None:
    rules = parse_rules({"rules": [{"class": "urgent", "module": "app", "tags": {"site": "north"}}]})
    fleet = facts({"ship-1": has(APP_1)}, a_device(tags={"site": "north"}))

    assert only(fleet, rules=rules).images[0].priority == "urgent"
    assert only(fleet, rules=rules, priority="background").images[0].priority == "background"
    assert only(facts({"ship-1": has(APP_1)}), rules=rules).images[0].priority == "normal"


# ------------------------------------------------------------ devices that cannot be planned for


@pytest.mark.parametrize(
    ("state", "code", "why"),
    [
        ("enrolled", None, "device.no_inventory"),
        ("enrolled", "hub.unknown_device", "hub.unknown_device"),
        ("held", None, "device.held"),
    ],
)
def test_a_device_of_which_nothing_is_known_waits_for_its_inventory(state: str, code: str | None, why: str) -> None:
    planned = only(facts({"ship-1": has(APP_2)}, a_device(state=state, twin_code=code)))

    assert (planned.state, planned.images, planned.code) == ("waiting_inventory", (), why)


def test_one_that_cannot_be_planned_for_fails_with_its_code_and_the_others_go_on() -> None:
    fleet = facts(
        {name: has(APP_1) for name in ("arm", "old", "gone", "well")},
        a_device("arm", platform="linux/arm64"),
        a_device("old", profiles=("v0",)),
        a_device("gone", state="retired"),
        a_device("well"),
    )

    plan = plan_fleet(fleet, wanted(APP_2), a_policy())

    codes = {planned.device.device_id: (planned.state, planned.code) for planned in plan}
    assert codes == {
        "arm": ("failed", "plan.no_platform"),
        "old": ("failed", "plan.no_profile"),
        "gone": ("failed", "plan.retired_device"),
        "well": ("planned", None),
    }
    details = {planned.device.device_id: planned.detail or "" for planned in plan}
    assert "linux/arm64, only for linux/amd64" in details["arm"]
    assert "v0" in details["old"]


@pytest.mark.parametrize(
    ("platform", "also_runs", "registered", "taken"),
    [
        ("linux/arm/v7", (), ("linux/arm/v6", "linux/arm/v5"), "linux/arm/v6"),
        ("linux/arm64", ("linux/arm/v7",), ("linux/arm/v7",), "linux/arm/v7"),
        ("linux/arm64", ("linux/arm/v7",), ("linux/arm/v7", "linux/arm64"), "linux/arm64"),
        ("linux/arm64", (), ("linux/arm/v7",), None),
    ],
)
def test_a_device_takes_the_best_image_of_what_it_states_that_it_runs(
    platform: str, also_runs: tuple[str, ...], registered: tuple[str, ...], taken: str | None
) -> None:
    device = a_device(platform=platform, also_runs=also_runs)

    assert device.image_of({each: f"image for {each}" for each in registered}) == (taken and f"image for {taken}")


def test_the_best_profile_that_the_device_reads_is_taken() -> None:
    fleet = facts({"ship-1": has(APP_1)}, a_device(profiles=("v1-64m", "v1-16m")))

    assert only(fleet, known_profiles=("v2-64m", "v1-16m", "v1-64m")).images[0].profile == "v1-16m"


@pytest.mark.parametrize(
    ("link", "profile"),
    [
        ({}, "good"),
        ({"bytes_per_second": 200_000.0}, "thin"),
        ({"bytes_per_second": 250_000.0}, "good"),
        ({"bytes_per_second": 900_000.0, "link_rate": 200_000}, "thin"),
        ({"bytes_per_second": 900_000.0, "link_rate": 0}, "good"),
        ({"bytes_per_second": 200_000.0, "tags": {"thin-link": "no"}}, "good"),
        ({"tags": {"thin-link": "yes"}}, "thin"),
        ({"tags": {"link-kbits-per-second": "512"}}, "thin"),
        ({"tags": {"link-kbits-per-second": "2000"}}, "good"),
        ({"tags": {"thin-link": "perhaps"}}, "good"),
        ({"bytes_per_second": 200_000.0, "profiles": ("plain", "good")}, "good"),
    ],
)
def test_what_is_slow_to_decode_goes_over_thin_links_alone(link: dict[str, Any], profile: str) -> None:
    fleet = facts({"ship-1": has(APP_1)}, a_device(**{"profiles": ("plain", "good", "thin"), **link}))
    policy = {"known_profiles": ("good", "plain"), "thin_profiles": ("thin",), "thin_link": 250_000}

    assert only(fleet, **policy).images[0].profile == profile


@pytest.mark.parametrize(
    ("link", "rate_and_share"),
    [
        ({"bytes_per_second": 100.0, "link_rate": 40}, (40.0, 1.0)),
        ({"bytes_per_second": 100.0, "link_rate": 1000}, (100.0, 1.0)),
        ({"bytes_per_second": 100.0, "link_rate": 0}, (100.0, 1.0)),
        ({"link_rate": 40, "link_hours": ""}, (40.0, 1.0)),
        ({"bytes_per_second": 100.0, "link_hours": "22-6"}, (100.0, 8 / 24)),
        ({"bytes_per_second": 100.0, "link_hours": "0-12,6-18, 23:30-24"}, (100.0, 18.5 / 24)),
        ({"link_rate": 0, "link_hours": "22-6"}, (None, 8 / 24)),
    ],
)
def test_the_plans_hours_respect_what_the_device_may_take_of_its_link(
    link: dict[str, Any], rate_and_share: tuple[float | None, float]
) -> None:
    fleet = facts({"ship-1": has(APP_1)}, a_device("ship-1", **link))

    (planned,) = plan_fleet(fleet, wanted(APP_2), a_policy())

    spending, (rate, share) = planned.spending, rate_and_share
    assert spending.hours_on_link == (None if rate is None else pytest.approx(spending.bytes / rate / 3600 / share))


# ------------------------------------------------------------ the answer of a dry run


def test_a_dry_run_says_bytes_hours_and_money_for_each_device() -> None:
    fleet = facts(
        {"ship-1": has(APP_1), "ship-2": has(STRANGER)},
        a_device("ship-1", bytes_per_second=100.0, money_per_megabyte=5.0),
        a_device("ship-2", state="enrolled"),
    )
    answer = plan_answer(plan_fleet(fleet, wanted(APP_2), a_policy()), limits(max_bytes=1))

    first, second = answer["devices"]
    sent = first["estimatedBytes"]
    assert (first["hoursOnLink"], first["money"]) == (sent / 360_000, sent / 200_000)
    assert first["images"] == [
        {
            "reference": "fleet.example/app:2",
            "imageId": APP_2.image_id,
            "alreadyPresent": False,
            "source": APP_1.image_id,
            "sourceReferences": ["fleet.example/app:1"],
            "unregistered": [],
            "estimatedBytes": sent,
            "fullBytes": RECORDS[APP_2.image_id].full_bytes,
        }
    ]
    assert (second["state"], second["estimatedBytes"], second["hoursOnLink"]) == ("waiting_inventory", 0, None)
    assert (answer["totalBytes"], answer["needsApproval"], len(answer["reasons"])) == (sent, True, 1)
    assert (answer["deviceCount"], answer["states"], answer["next"]) == (
        2,
        {"planned": 1, "waiting_inventory": 1},
        None,
    )
    assert answer["waiting"] == [{"code": "device.no_inventory", "detail": None, "devices": 1, "example": "ship-2"}]


def test_a_dry_run_says_what_is_known_of_links_and_for_how_many_devices_it_is_not() -> None:
    tags = {"link-kbits-per-second": "64", "money-per-megabyte": "2.5"}
    fleet = facts(
        {"told": has(STRANGER), "tagged": has(STRANGER), "unknown": has(STRANGER), "has-it": has(APP_2)},
        a_device("told", bytes_per_second=16_000.0, money_per_megabyte=0.0, tags=tags),
        a_device("tagged", tags=tags),
        a_device("unknown", tags={"link-kbits-per-second": "fast", "money-per-megabyte": "-1"}),
        a_device("has-it"),
    )
    answer = plan_answer(plan_fleet(fleet, wanted(APP_2), a_policy()), limits())

    told, tagged, unknown, _ = answer["devices"]
    assert tagged["hoursOnLink"] == 2 * told["hoursOnLink"] > 0
    assert (told["money"], tagged["money"]) == (0, pytest.approx(tagged["estimatedBytes"] / 400_000))
    assert (unknown["hoursOnLink"], unknown["money"]) == (None, None)
    assert (answer["longestHours"], answer["hoursUnknown"]) == (tagged["hoursOnLink"], 1)
    assert (answer["totalMoney"], answer["moneyUnknown"]) == (tagged["money"], 1)


@pytest.mark.parametrize("text", ["", "0", "-5", "1e3", "nan", "inf", "١٢", "9" * 400, "5 kbit", " 5"])
def test_a_tag_that_is_no_positive_number_leaves_the_link_unknown(text: str) -> None:
    assert link_tags.bytes_per_second({link_tags.RATE: text}) is None


def test_a_dry_run_for_many_devices_is_of_one_size_and_its_pages_name_each_device_once() -> None:
    present = {f"ship-{number:04}": has(APP_1) for number in range(1_000)}
    fleet = facts(present)
    limited = limits(max_bytes_per_device=1)

    pages, after = [], None
    while not pages or after is not None:
        chosen = page_of(fleet.devices, after)
        pages.append(
            plan_answer(plan_fleet(replace(fleet, devices=tuple(chosen)), wanted(APP_2), a_policy()), limited, after)
        )
        after = pages[-1]["next"]

    named = [device["deviceId"] for page in pages for device in page["devices"]]
    assert named == sorted(present)
    assert max(len(json.dumps(page)) for page in pages) < 16_000
    assert (pages[0]["deviceCount"], len(pages[0]["reasons"])) == (1_000, 6)
    assert "totalBytes" not in pages[1]


def test_modules_name_the_images_of_a_set_and_without_manifest_the_repository_does() -> None:
    images = {"fleet.example/app:2": {PLATFORM: "a"}, "fleet.example/x/tool:1": {PLATFORM: "b"}}

    found = wanted_images(images, {"fleet.example/app:2": ["one", "two"]})

    assert [(item.reference, item.modules) for item in found] == [
        ("fleet.example/app:2", ("one", "two")),
        ("fleet.example/x/tool:1", ("tool",)),
    ]
