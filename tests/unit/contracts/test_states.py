"""The states of DESIGN as data: every allowed move is walked, every other one is refused, also by SQL."""

from __future__ import annotations

import itertools
import re
from collections import deque
from pathlib import Path

import pytest

from contracts.states import (
    ACTIVE_TRANSFER,
    API,
    DEVICE,
    IN_TRANSIT,
    MACHINES,
    OPEN_SET,
    ORCHESTRATOR,
    SET,
    TIMER,
    TRANSFER,
    StateMachine,
)
from imagedelta.errors import RequestError

MOVERS = (API, ORCHESTRATOR, TIMER, DEVICE)
HEALING = {
    ("member", "apply_failed", "applied"),
    ("set", "completed_with_failures", "completed"),
    ("patch", "verified", "building"),
    ("patch", "verified", "requested"),
}
"""Modules that did not run in time and run now; a patch whose blob has gone."""
DOCUMENT = Path(__file__).parents[3] / "docs" / "states.md"

ALLOWED = [
    pytest.param(machine, old, new, movers, id=f"{kind}-{old}-{new}")
    for kind, machine in MACHINES.items()
    for (old, new), movers in machine.moves.items()
]
REFUSED = [
    pytest.param(machine, old, new, id=f"{kind}-{old}-{new}")
    for kind, machine in MACHINES.items()
    for old, new in itertools.product(sorted(machine.states), repeat=2)
    if (old, new) not in machine.moves
]


@pytest.mark.parametrize(("machine", "old", "new", "movers"), ALLOWED)
def test_an_allowed_move_is_made_by_its_movers_and_nobody_else(
    machine: StateMachine, old: str, new: str, movers: frozenset[str]
) -> None:
    machine.check(old, new)
    for mover in MOVERS:
        if mover in movers:
            machine.check(old, new, mover)
            continue
        with pytest.raises(RequestError):
            machine.check(old, new, mover)


@pytest.mark.parametrize(("machine", "old", "new"), REFUSED)
def test_every_other_move_is_refused_for_everybody(machine: StateMachine, old: str, new: str) -> None:
    with pytest.raises(RequestError) as error:
        machine.check(old, new)

    assert (error.value.code, error.value.status) == ("request.state", 409)
    assert not any(machine.allows(old, new, mover) for mover in MOVERS)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_state_is_reached_from_the_first(machine: StateMachine) -> None:
    reached, waiting = {machine.initial}, deque([machine.initial])
    while waiting:
        new = machine.next_states(waiting.popleft()) - reached
        reached |= new
        waiting.extend(new)

    assert reached == machine.states


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_every_state_leads_to_an_end(machine: StateMachine) -> None:
    ends = set(machine.terminal)
    while True:
        more = {old for old, new in machine.moves if new in ends} - ends
        if not more:
            break
        ends |= more

    assert ends == machine.states


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_no_move_stays_where_it_is_and_every_name_fits_its_column(machine: StateMachine) -> None:
    assert machine.terminal <= machine.states
    assert all(old != new for old, new in machine.moves)
    assert all(movers and movers <= set(MOVERS) for movers in machine.moves.values())
    assert all(re.fullmatch(r"[a-z_]{1,64}", state) for state in machine.states)


def test_from_an_end_only_evidence_or_a_person_leads_on() -> None:
    """And a lost image, which an inventory proves and the timer acts on, and age or loss, for a patch's blob."""
    for kind, machine in MACHINES.items():
        for (old, new), movers in machine.moves.items():
            if old in machine.terminal and (kind, old) not in {
                ("transfer", "succeeded"),
                ("transfer", "already_present"),
            }:
                assert movers & {API, DEVICE} or (kind, old, new) in HEALING


def test_the_groups_of_states_are_what_their_names_say() -> None:
    assert IN_TRANSIT < ACTIVE_TRANSFER
    assert TRANSFER.states - TRANSFER.terminal == ACTIVE_TRANSFER
    assert OPEN_SET.isdisjoint(SET.terminal)


def test_no_set_is_cancelled_from_releasing_on() -> None:
    assert not SET.allows("releasing", "cancelled")
    assert not SET.allows("released", "cancelled")


@pytest.mark.parametrize("kind", MACHINES)
def test_the_document_lists_exactly_these_moves(kind: str) -> None:
    section = DOCUMENT.read_text().split(f"## {kind.capitalize()}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\w, ]+) \|$", section, re.MULTILINE)

    documented = {(old, new): frozenset(movers.split(", ")) for old, new, movers in rows}
    assert documented == dict(MACHINES[kind].moves)
    assert len(rows) == len(documented)
