"""What the owner of a set is told, and when nothing because it is no longer so."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activities.notices.html import html_text
from activities.notices.kinds import KINDS, Facts
from activities.notices.story import bytes_text, one_line, story_of
from activities.notices.text import plain_text
from contracts.records import DeploymentSet, Figures, Trouble, Waiting
from contracts.states import MEMBER, SET
from imagedelta_cli.main import cli
from store.kernel.notices import OF_MEMBER, OF_SET

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SET_1 = DeploymentSet(
    set_id="set-1",
    ordinal=1,
    state="in_transit",
    name="March",
    workstream="default",
    owner_name="Olga",
    owner_email="olga@example.com",
    ordered_by="olga",
    priority=None,
    release_policy="set",
    release_by="auto",
    canaries=(),
    promoted=False,
    deadline=NOW,
    overdue=False,
    max_bytes_per_device=None,
    max_bytes=None,
    allow_full_bundles=True,
    approved_by=None,
    manifest={"modulesContent": {}},
    images={"app:2": {"linux/amd64": "sha256:0"}},
    release_requested=False,
    code=None,
    detail=None,
    asked_bytes=None,
    rollback_of=None,
    created_at=NOW,
    updated_at=NOW,
)
LOST = Trouble("failed", "seal.invalid", "app:2: the seal\r\nBcc: x@y does not fit", 400, ("ship-1", "ship-2"))
HELD = Trouble("failed", "plan.needs_approval", "would get 9 bytes", 1, ("ship-9",))


def facts(*troubles: Trouble, **changes: Any) -> Facts:
    members = changes.pop("members", {"failed": 400, "ready": 2})
    figures = changes.pop("figures", Figures(2000, 1500, 30_000))
    waiting = changes.pop("waiting", ())
    return Facts(replace(SET_1, **changes), members, figures, troubles, waiting)


def body_of(kind: str, told: Facts) -> str:
    return plain_text(story_of(KINDS[kind], told))


def test_every_kind_that_is_announced_has_its_words() -> None:
    assert {*OF_MEMBER.values(), *OF_SET.values(), "overdue", "silent"} == KINDS.keys()


def test_a_mail_about_silent_devices_names_the_first_and_how_to_go_on_without_it() -> None:
    told = facts(waiting=(Waiting("device.silent", 12, "ship-1"),))

    story = story_of(KINDS["silent"], told)
    body = plain_text(story)

    assert story.subject == "March waits for 12 devices that nothing is heard of"
    assert "12 held up: ship-1 is the first" in body
    assert "Look at its link and power" in body
    assert "imagedelta sets exclude set-1 ship-1" in body


def test_a_mail_has_the_reason_what_to_do_commands_and_the_numbers() -> None:
    story = story_of(KINDS["member_failed"], facts(LOST), "https://fleet.example/sets/{set}")
    body = plain_text(story)

    assert story.subject == "March failed on 400 devices"
    assert body.splitlines() == [
        "Hello Olga,",
        "",
        'your deployment set "March" failed on 400 devices.',
        "",
        "400 failed: ship-1, ship-2 and 398 more",
        "  Reason: seal.invalid. app:2: the seal Bcc: x@y does not fit. Seal the bundle with a key that the device "
        "trusts, and check who made it.",
        "",
        "The other devices go on. Mend the cause and retry, or go on without:",
        "    imagedelta retry set-1 ship-1",
        "    imagedelta retry set-1 ship-2",
        "    imagedelta retry set-1 DEVICE",
        "    imagedelta sets exclude set-1 ship-1",
        "    imagedelta sets exclude set-1 ship-2",
        "    imagedelta sets exclude set-1 DEVICE",
        "",
        "Devices: 400 failed, 2 ready",
        "Images: app:2",
        "Workstream: default",
        "Deadline: 2030-01-01 12:00 UTC",
        "Planned: 2.00 kB",
        "Sent: 1.50 kB instead of 30.0 kB (5.0%)",
        "",
        "Set: set-1",
        "Page: https://fleet.example/sets/set-1",
        "Look: imagedelta status set-1",
        "More: docs/runbooks/transfer-trouble.md",
    ]


def test_a_set_that_waits_says_what_it_would_send_before_anything_is_planned() -> None:
    waiting = facts(state="awaiting_approval", figures=None, asked_bytes=5000, code="plan.needs_approval", detail="9>1")

    body = body_of("awaiting_approval", waiting)

    assert "Reason: plan.needs_approval. 9>1" in body
    assert "Planned: 5.00 kB" in body
    assert "    imagedelta approve set-1\n    imagedelta cancel set-1\n" in body


def test_an_overdue_set_says_what_it_is_held_up_by() -> None:
    late = Trouble("waiting_inventory", None, None, 2, ("boat", "ship"))
    waiting = (Waiting("device.no_inventory", 2, "ship"), Waiting("hub.unknown_device", 1, "boat"))

    body = body_of("overdue", facts(late, waiting=waiting))

    assert "2 held up: ship is the first\n  Reason: device.no_inventory. Start the Image Recon" in body
    assert "1 held up: boat is the first\n  Reason: hub.unknown_device. Create the device" in body
    assert "    imagedelta sets exclude set-1 boat\n" in body


@pytest.mark.parametrize(
    ("changes", "verb"),
    [
        ({"state": "ready", "release_policy": "manual"}, "release"),
        ({"state": "releasing", "canaries": ("boat",)}, "promote"),
        ({"state": "releasing"}, None),
        ({"state": "released"}, None),
    ],
)
def test_who_must_say_go_is_told_how_when_all_has_arrived(changes: dict[str, Any], verb: str | None) -> None:
    body = body_of("arrived", facts(**changes))

    commands = re.findall(r"^    imagedelta (?:sets )?(\w+) set-1$", body, re.MULTILINE)
    assert commands == ([verb] if verb else [])


def test_an_arrival_counts_the_devices_that_are_left() -> None:
    title = KINDS["arrived"].title(facts(state="ready", members={"ready": 3, "released": 1, "excluded": 5}))
    flawed = KINDS["arrived"].title(facts(state="ready", members={"ready": 1, "failed": 2}))

    assert (title, flawed) == ("has arrived on 4 devices", "has arrived on 1 device of 3")


def test_a_completed_set_says_that_its_release_is_applied_and_how_to_go_back() -> None:
    body = body_of("completed", facts(state="completed", members={"applied": 2}))

    assert "Its release is applied: the modules run on 2 devices. To go back to what ran before:" in body
    assert "    imagedelta rollback set-1\n" in body


def test_what_waits_for_approval_is_approved_and_not_retried() -> None:
    body = body_of("completed", facts(LOST, HELD, state="completed_with_failures"))

    assert "imagedelta approve set-1" in body
    assert "retry set-1 ship-1" in body
    assert "retry set-1 ship-9" not in body


def test_a_conflict_is_only_blamed_on_somebody_where_somebody_changed_something() -> None:
    changed = Trouble("conflict", "release.conflict", "version 7 instead of 5", 1, ("ship-1",))
    no_base = Trouble("conflict", "release.no_base", "ship-2 has no base deployment", 1, ("ship-2",))

    assert "Somebody else changed the deployment there." in body_of("conflict", facts(changed))
    body = body_of("conflict", facts(changed, no_base))
    assert "Somebody else" not in body
    assert "Nothing is released there before you decide." in body
    assert "Give the device a base deployment by target condition" in " ".join(body.split())
    assert "imagedelta sets rebase set-1 ship-2" in body


@pytest.mark.parametrize(
    ("kind", "state", "so"),
    [
        ("arrived", "ready", True),
        ("arrived", "completed", True),
        ("arrived", "in_transit", False),
        ("arrived", "cancelled", False),
        ("completed", "preparing", False),
        ("failed", "preparing", False),
        ("overdue", "ready", True),
        ("overdue", "completed", False),
        ("awaiting_approval", "awaiting_approval", True),
        ("awaiting_approval", "preparing", False),
        ("member_failed", "in_transit", False),
        ("conflict", "cancelled", False),
    ],
)
def test_what_is_no_longer_so_is_not_told(kind: str, state: str, so: bool) -> None:
    assert KINDS[kind].is_so(facts(state=state)) is so


def test_single_devices_are_told_of_in_the_last_mail_of_a_set_that_ended() -> None:
    assert KINDS["member_failed"].is_so(facts(LOST))
    assert not KINDS["member_failed"].is_so(facts(LOST, state="completed_with_failures"))
    assert KINDS["awaiting_approval"].is_so(facts(HELD, state="completed_with_failures"))


def test_text_from_outside_adds_no_lines() -> None:
    assert one_line("a\r\nBcc: everyone\x85\u2028b") == "a Bcc: everyone b"
    assert one_line("a\x1b[2Jb\x00") == "a\\x1b[2Jb\\x00"


@given(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(sorted(SET.states)),
    st.sampled_from(sorted(MEMBER.states)),
    st.text(min_size=1, max_size=60),
    st.sampled_from(["ship-1", "ship$1", "a:b@c"]),
)
def test_every_command_in_a_mail_is_one_that_the_command_line_knows(
    kind: str, state: str, member: str, words: str, device: str
) -> None:
    trouble = Trouble(member, "plan.needs_approval" if "a" in words else "seal.invalid", words, 1, (device,))
    told = facts(trouble, state=state, name=words, owner_name=words, canaries=("boat",), detail=words, code="internal")

    story = story_of(KINDS[kind], told)
    body = plain_text(story)

    assert len(story.subject.splitlines()) <= 1
    for line in re.findall(r"^(?:    |Look: )(imagedelta .*)$", body, re.MULTILINE):
        words = shlex.split(line)[1:]
        found: click.Command | None = cli
        while isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0))
        assert found is not None, line
        wanted = [one for one in found.params if isinstance(one, click.Argument)]
        assert (words[0], len(words)) == ("set-1", len(wanted)), line


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (3_210_000_000, "3.21 GB"),
    ],
)
def test_bytes_are_told_in_three_digits(count: int, text: str) -> None:
    assert bytes_text(count) == text


class Tags(HTMLParser):
    """What a mail program would see of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.commands: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside == "pre":
            self.commands.append(data)


HARMLESS = {
    *("html", "head", "meta", "title", "body", "div", "table", "tr", "td", "h1", "p", "b", "br", "pre", "span", "a"),
}
ATTRIBUTES = {
    *("lang", "charset", "name", "content", "style", "role", "width", "cellpadding", "cellspacing", "border"),
    *("bgcolor", "href"),
}


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(sorted(SET.states)), st.text(min_size=1, max_size=80))
@example("failed", "failed", "<script>alert(1)</script>")
@example("failed", "failed", '"><img src=https://evil.example/x.png onerror=a()>')
@example("failed", "failed", "</pre><a href=https://evil.example>click</a>&lt;")
def test_whatever_others_write_a_mail_fetches_nothing_and_runs_nothing(kind: str, state: str, words: str) -> None:
    trouble = Trouble("failed", "seal.invalid", words, 1, ("ship-1",))
    changes = {"state": state, "name": words, "owner_name": words, "detail": words, "code": "internal"}
    told = facts(trouble, images={words: {}}, workstream=words, **changes)

    story = story_of(KINDS[kind], told, "https://fleet.example/?a=1&set={set}")
    tags = Tags(html_text(story))

    assert {tag for tag, _ in tags.seen} <= HARMLESS
    assert {name for _, attributes in tags.seen for name in attributes} <= ATTRIBUTES
    assert [attributes["href"] for tag, attributes in tags.seen if tag == "a"] == [
        "https://fleet.example/?a=1&set=set-1"
    ]
    assert not any("url(" in (attributes.get("style") or "") for _, attributes in tags.seen)
    assert tags.commands == [*story.commands, story.look]
    assert f"{one_line(words)} {story.happened}" in tags.text


def test_html_and_text_say_the_same() -> None:
    story = story_of(KINDS["failed"], facts(LOST, state="failed", code="plan.impossible", detail="none < left"))
    shown = Tags(html_text(story)).text

    for line in plain_text(story).splitlines()[3:]:
        for part in re.split(r"Reason: [\w.]+\.|Look: |: |, ", line):
            assert part.strip(" .") in shown, part


def test_a_set_of_a_hundred_images_is_a_short_mail() -> None:
    many = {f"registry.example/team/app-{number:03}:1": {} for number in range(100)}
    story = story_of(KINDS["arrived"], facts(state="ready", images=many))

    assert "app-009:1 and 90 more" in plain_text(story)
    assert len(html_text(story)) < 20_000
