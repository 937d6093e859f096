"""The kinds of thing that the owner of a set is told: when each is true, what happened, what there is to do. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.records import DeploymentSet, Figures, Trouble, Waiting
from contracts.states import ARRIVED, NEEDS_APPROVAL, OPEN_SET, OUT

APPROVABLE = OPEN_SET | {"failed", "completed_with_failures"}
"""Set states in which such members can still be approved."""
COPIED = 3
"""Commands of one sort for single devices in one mail."""

Advice = tuple[str, list[str]]
"""What to do, and commands to copy."""


_OF_THEIR_OWN = ("approve", "cancel", "release", "retry", "rollback", "status")
"""Commands that stand at the top of the command line; others of a set are below ``sets``."""


@dataclass(frozen=True)
class Facts:
    """Of the set, now."""

    of: DeploymentSet
    members: Mapping[str, int]
    """state -> number."""
    figures: Figures | None
    """None before a plan is recorded."""
    troubles: tuple[Trouble, ...]
    """Members that one of the kind names."""
    waiting: tuple[Waiting, ...]

    def command(self, verb: str, *more: str) -> str:
        room = () if verb in _OF_THEIR_OWN else ("sets",)
        return shlex.join(["imagedelta", *room, verb, self.of.set_id, *more])

    def each(self, verb: str, *states: str) -> list[str]:
        """The command for the first devices in trouble, and its form when there are more."""
        chosen = [one for one in self.troubles if (not states or one.state in states) and _takes(verb, one)]
        named = [device for one in chosen for device in one.named]
        lines = [self.command(verb, device) for device in named[:COPIED]]
        more = sum(one.devices for one in chosen) > len(lines)
        return lines + ([f"{self.command(verb)} DEVICE"] if more else [])

    def second_chances(self) -> list[str]:
        held_back = any(one.code == NEEDS_APPROVAL for one in self.troubles)
        return self.each("retry", "failed") + ([self.command("approve")] if held_back else [])

    def devices(self) -> str:
        count = sum(trouble.devices for trouble in self.troubles)
        return f"1 device: {self.troubles[0].named[0]}" if count == 1 else f"{count:,} devices"


def _takes(verb: str, trouble: Trouble) -> bool:
    """A retry of what waits for approval would only be held back again."""
    return verb != "retry" or trouble.code != NEEDS_APPROVAL


class Kind:
    states: frozenset[str] = frozenset()
    """Of the members that it names."""
    runbook = "set-does-not-finish.md"
    tone = "bad"
    """good, bad or waits (for a person)."""

    def tone_of(self, facts: Facts) -> str:
        return self.tone

    def names(self, trouble: Trouble) -> bool:
        return True

    def is_so(self, facts: Facts) -> bool:
        """Whether it is still worth telling; what single devices lack is in the last mail of a set that ended."""
        return facts.of.state in OPEN_SET and bool(facts.troubles)

    def title(self, facts: Facts) -> str:
        raise NotImplementedError

    def advice(self, facts: Facts) -> Advice:
        raise NotImplementedError


class Arrived(Kind):
    runbook = ""
    tone = "good"

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state in ("ready", "releasing", "released", "completed", "completed_with_failures")

    def title(self, facts: Facts) -> str:
        here = sum(facts.members.get(state, 0) for state in ARRIVED)
        left = sum(count for state, count in facts.members.items() if state not in OUT)
        return f"has arrived on {counted(here)}" + (f" of {left:,}" if here < left else "")

    def advice(self, facts: Facts) -> Advice:
        of = facts.of
        if of.state not in ("ready", "releasing"):
            return "Nothing to do: the manifest is set, and you are told when the modules run.", []
        if of.release_policy == "manual" and not of.release_requested:
            return "Nothing starts before you release it:", [facts.command("release")]
        if of.canaries and not of.promoted:
            first = ", ".join(of.canaries[:COPIED])
            return f"It is released to {first} first; the others wait until you say so:", [facts.command("promote")]
        return "Nothing to do: the manifest is set now, and you are told when the modules run.", []


class Completed(Kind):
    states = frozenset({"failed", "apply_failed", "excluded"})
    runbook = ""

    def tone_of(self, facts: Facts) -> str:
        return "waits" if facts.of.state == "completed_with_failures" else "good"

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state in ("completed", "completed_with_failures")

    def title(self, facts: Facts) -> str:
        flawed = facts.of.state == "completed_with_failures"
        return "is complete, but not on every device" if flawed else "is complete"

    def advice(self, facts: Facts) -> Advice:
        if facts.of.manifest is None:
            done = f"All its images are on {counted(facts.members.get('ready', 0))}."
        else:
            done = f"Its release is applied: the modules run on {counted(facts.members.get('applied', 0))}."
        if retry := facts.second_chances():
            return f"{done} Give the others another chance, or leave them as they are:", retry
        if facts.of.manifest is None:
            return f"{done} Nothing is left to do.", []
        return f"{done} To go back to what ran before:", [facts.command("rollback")]


class Failed(Kind):
    states = frozenset({"failed", "excluded"})

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state == "failed"

    def title(self, facts: Facts) -> str:
        return "has failed"

    def advice(self, facts: Facts) -> Advice:
        retry = facts.second_chances()
        return ("Mend the cause, then retry the devices:", retry) if retry else ("Mend it and start a new set.", [])


class Overdue(Kind):
    states = frozenset({"waiting_inventory", "planned", "in_transit", "ready", "conflict", "failed", "released"})
    tone = "waits"

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state in OPEN_SET

    def title(self, facts: Facts) -> str:
        return "is past its deadline"

    def advice(self, facts: Facts) -> Advice:
        held_up = facts.each("exclude", "waiting_inventory", "planned", "in_transit", "conflict", "failed")
        what = "Nothing was stopped. Wait, go on without the devices that hold it up, or cancel the set:"
        cancel = [facts.command("cancel")] if facts.of.state not in ("releasing", "released") else []
        return what, [*held_up, *cancel]


class AwaitingApproval(Kind):
    """Of a whole set, or of devices that were planned after it had started."""

    states = frozenset({"failed"})
    tone = "waits"

    def names(self, trouble: Trouble) -> bool:
        return trouble.code == NEEDS_APPROVAL

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state == "awaiting_approval" or (facts.of.state in APPROVABLE and bool(facts.troubles))

    def title(self, facts: Facts) -> str:
        whole = facts.of.state == "awaiting_approval"
        return "waits for your approval" if whole else f"waits for your approval of {facts.devices()}"

    def advice(self, facts: Facts) -> Advice:
        if facts.of.state == "awaiting_approval":
            what = "Nothing is sent before you approve it. Approve, or cancel the set:"
            return what, [facts.command("approve"), facts.command("cancel")]
        what = "The other devices go on; these get nothing before you approve it. Approve, or go on without:"
        return what, [facts.command("approve"), *facts.each("exclude")]


class MemberFailed(Kind):
    states = frozenset({"failed"})
    runbook = "transfer-trouble.md"

    def names(self, trouble: Trouble) -> bool:
        return trouble.code != NEEDS_APPROVAL

    def title(self, facts: Facts) -> str:
        return f"failed on {facts.devices()}"

    def advice(self, facts: Facts) -> Advice:
        what = "The other devices go on. Mend the cause and retry, or go on without:"
        return what, [*facts.each("retry"), *facts.each("exclude")]


class Conflict(Kind):
    states = frozenset({"conflict"})
    tone = "waits"

    def title(self, facts: Facts) -> str:
        return f"was not released on {facts.devices()}"

    def advice(self, facts: Facts) -> Advice:
        if {trouble.code for trouble in facts.troubles} == {"release.conflict"}:
            what = "Somebody else changed the deployment there. Release on top of their change, or leave it as it is:"
        else:
            what = "Nothing is released there before you decide. Mend the reason, then release after all; or leave it:"
        return what, [*facts.each("rebase"), *facts.each("skip")]


class ApplyFailed(Kind):
    states = frozenset({"apply_failed"})

    def title(self, facts: Facts) -> str:
        return f"does not run on {facts.devices()}"

    def advice(self, facts: Facts) -> Advice:
        what = "Look at the modules there. Going back to what ran before costs no bytes while its images are kept:"
        return what, [facts.command("rollback")]


class Silent(Kind):
    runbook = "silent-device.md"
    tone = "waits"

    def is_so(self, facts: Facts) -> bool:
        return facts.of.state in OPEN_SET and bool(facts.waiting)

    def title(self, facts: Facts) -> str:
        return f"waits for {counted(sum(one.devices for one in facts.waiting))} that nothing is heard of"

    def advice(self, facts: Facts) -> Advice:
        what = "Nothing is lost: they go on where they were once they have a link. Look at them, or go on without:"
        return what, [facts.command("exclude", one.example) for one in facts.waiting]


KINDS: Mapping[str, Kind] = {
    "arrived": Arrived(),
    "completed": Completed(),
    "failed": Failed(),
    "overdue": Overdue(),
    "awaiting_approval": AwaitingApproval(),
    "member_failed": MemberFailed(),
    "conflict": Conflict(),
    "silent": Silent(),
    "apply_failed": ApplyFailed(),
}


def counted(number: int) -> str:
    return "1 device" if number == 1 else f"{number:,} devices"
