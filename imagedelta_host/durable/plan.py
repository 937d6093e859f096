"""What an orchestrator has asked for so far: its actions as a tree, each leaf with its progress.

The SDK answers every episode with the whole list of actions from the start. A plan remembers that list, so that
only what is new gets scheduled, and so that an orchestrator that answers something else on replay is noticed.
Task ids follow the SDK's own counter: one for each activity, timer and sub-orchestrator leaf, depth first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from imagedelta_host.errors import HostError

Node = int | list[Any]
Action = dict[str, Any]


class ActionType(IntEnum):
    """Numbers of the actions on the wire."""

    ACTIVITY = 0
    ACTIVITY_RETRY = 1
    CHILD = 2
    CHILD_RETRY = 3
    CONTINUE_AS_NEW = 4
    TIMER = 5
    EXTERNAL_EVENT = 6
    CALL_ENTITY = 7
    CALL_HTTP = 8
    SIGNAL_ENTITY = 9
    ANY = 11
    ALL = 12


_NAMES = {
    ActionType.ACTIVITY: "an activity task",
    ActionType.ACTIVITY_RETRY: "an activity task with retries",
    ActionType.CHILD: "a sub-orchestration",
    ActionType.CHILD_RETRY: "a sub-orchestration with retries",
    ActionType.TIMER: "a timer",
    ActionType.EXTERNAL_EVENT: "a wait for the external event",
    ActionType.ANY: "a task_any",
    ActionType.ALL: "a task_all",
}
_UNSERVED = {
    ActionType.CALL_ENTITY: "call_entity",
    ActionType.SIGNAL_ENTITY: "signal_entity",
    ActionType.CALL_HTTP: "call_http",
}


class NonDeterministicOrchestration(HostError):
    """On replay the orchestrator asked for something else than it did before."""

    code = "host.non_deterministic"


class ActionUnsupported(HostError):
    """The orchestrator asked for something this host does not serve."""

    code = "host.binding_unsupported"


@dataclass
class Leaf:
    """One action that is not a group.

    Attributes:
        kind: Its action type.
        name: Function name, external event name, or empty for a timer.
        task: The task id it waits for at present; ``None`` for external events.
        spent: The task ids of its earlier attempts and of the timers between them.
        nth: For external events: this is the n-th wait (from 1) for that name.
        input: JSON text for the function called.
        instance: Asked-for instance id of a sub-orchestration.
        version: Asked-for version of a sub-orchestration.
        fire_at: For a timer, when, as the SDK wrote it.
        interval_ms: Wait before each retry, in milliseconds; 0 without retries.
        attempts: The most attempts; 1 without retries.
        attempt: The attempt under way, from 1.
        retrying: It failed and waits for its retry timer.
        started: It has been scheduled.
        done: It has ended, or was cancelled.
    """

    kind: int
    name: str = ""
    task: int | None = None
    nth: int = 0
    input: str | None = None
    instance: str | None = None
    version: str | None = None
    fire_at: str = ""
    interval_ms: int = 0
    attempts: int = 1
    attempt: int = 1
    retrying: bool = False
    started: bool = False
    done: bool = False
    spent: list[int] = field(default_factory=list)

    @staticmethod
    def from_action(action: Action) -> Leaf:
        """Read an action of the SDK.

        Raises:
            ActionUnsupported: Entities and HTTP calls.
        """
        kind = ActionType(action["actionType"])
        if kind in _UNSERVED:
            raise ActionUnsupported(f"{_UNSERVED[kind]} is not served by the embedded host")
        leaf = Leaf(kind, _name(action))
        leaf.take(action)
        return leaf

    def take(self, action: Action) -> None:
        """Take over what a start needs: until then the latest answer counts."""
        retry = action.get("retryOptions") or {}
        self.input = action.get("input")
        self.instance = action.get("instanceId")
        self.version = action.get("version")
        self.fire_at = action.get("fireAt", "")
        self.interval_ms = int(retry.get("firstRetryIntervalInMilliseconds", 0))
        self.attempts = max(1, int(retry.get("maxNumberOfAttempts", 1)))

    @property
    def retries(self) -> bool:
        """Whether failures of it are retried by the host."""
        return self.kind in (ActionType.ACTIVITY_RETRY, ActionType.CHILD_RETRY)

    @property
    def tasks(self) -> list[int]:
        """All task ids it has had, in the order in which it got them."""
        return [] if self.task is None else [*self.spent, self.task]


def _name(action: Action) -> str:
    return str(action.get("functionName") or action.get("externalEventName") or "")


@dataclass
class Plan:
    """The actions of one run of an orchestrator.

    Attributes:
        leaves: All leaves in the order in which they were asked for.
        tops: The top-level actions: an index into ``leaves``, or ``["any" | "all", [nodes]]``.
        next_task: The next task id.
        raised: How many external events of each name have arrived.
    """

    leaves: list[Leaf] = field(default_factory=list)
    tops: list[Node] = field(default_factory=list)
    next_task: int = 0
    raised: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def from_json(text: str) -> Plan:
        """Read what ``to_json`` wrote."""
        if not text:
            return Plan()
        data = json.loads(text)
        leaves = [Leaf(**leaf) for leaf in data["leaves"]]
        return Plan(leaves, data["tops"], data["next"], data["raised"])

    def to_json(self) -> str:
        """The plan as compact JSON; fields with their default value are left out."""
        leaves = [_sparse(leaf) for leaf in self.leaves]
        data = {"leaves": leaves, "tops": self.tops, "next": self.next_task, "raised": self.raised}
        return json.dumps(data, separators=(",", ":"))

    def take_task(self) -> int:
        """The next task id."""
        self.next_task += 1
        return self.next_task - 1

    def next_task_of(self, leaf: Leaf) -> int:
        """Go on with a leaf under the next task id, which is its retry timer's or its next attempt's."""
        leaf.spent = leaf.tasks
        leaf.task = self.take_task()
        return leaf.task

    def open_tasks(self) -> dict[int, Leaf]:
        """All leaves that wait for a task, by its id."""
        return {leaf.task: leaf for leaf in self.leaves if leaf.task is not None and not leaf.done}

    def extend(self, actions: list[Action]) -> list[Leaf]:
        """Take over the actions that are new, and cancellations of timers.

        Returns:
            Timers that had been started and are now cancelled.

        Raises:
            NonDeterministicOrchestration: ``actions`` does not begin with what was asked before.
            ActionUnsupported: A new action is not served.
        """
        cancelled = self._compare(actions)
        for action in actions[len(self.tops) :]:
            if action["actionType"] != ActionType.CONTINUE_AS_NEW:
                self.tops.append(self._grow(action))
        return cancelled

    def _compare(self, actions: list[Action]) -> list[Leaf]:
        if len(actions) < len(self.tops):
            raise _different(self, self.tops[len(actions)], None)
        pairs = [pair for top, action in zip(self.tops, actions, strict=False) for pair in self._pairs(top, action)]
        cancelled = []
        for leaf, action in pairs:
            if not leaf.started:
                leaf.take(action)
            if leaf.kind == ActionType.TIMER and action.get("isCanceled") and not leaf.done:
                leaf.done = True
                cancelled.append(leaf)
        return cancelled

    def _pairs(self, node: Node, action: Action) -> Iterator[tuple[Leaf, Action]]:
        if isinstance(node, int):
            leaf = self.leaves[node]
            if leaf.kind != action["actionType"] or leaf.name != _name(action):
                raise _different(self, node, action)
            yield leaf, action
            return
        expected = ActionType.ANY if node[0] == "any" else ActionType.ALL
        children = action.get("compoundActions", [])
        if action["actionType"] != expected or len(children) != len(node[1]):
            raise _different(self, node, action)
        for child, child_action in zip(node[1], children, strict=True):
            yield from self._pairs(child, child_action)

    def _grow(self, action: Action) -> Node:
        kind = action["actionType"]
        if kind in (ActionType.ANY, ActionType.ALL):
            children = [self._grow(child) for child in action["compoundActions"]]
            return ["any" if kind == ActionType.ANY else "all", children]
        leaf = Leaf.from_action(action)
        if leaf.kind == ActionType.EXTERNAL_EVENT:
            leaf.nth = 1 + sum(other.kind == leaf.kind and other.name == leaf.name for other in self.leaves)
        else:
            leaf.task = self.take_task()
            leaf.done = bool(action.get("isCanceled"))
        self.leaves.append(leaf)
        return len(self.leaves) - 1

    def is_complete(self, node: Node) -> bool:
        """Whether what a top-level action waits for has happened."""
        if not isinstance(node, int):
            children = [self.is_complete(child) for child in node[1]]
            return all(children) or (node[0] == "any" and any(children))
        leaf = self.leaves[node]
        if leaf.kind == ActionType.EXTERNAL_EVENT:
            return self.raised.get(leaf.name, 0) >= leaf.nth
        return leaf.done

    def leaves_under(self, node: Node) -> Iterator[Leaf]:
        """The leaves of one top-level action, depth first."""
        if isinstance(node, int):
            yield self.leaves[node]
        else:
            for child in node[1]:
                yield from self.leaves_under(child)

    def startable(self) -> tuple[list[Leaf], bool]:
        """Leaves to start now, and whether the orchestrator is held back by an action that is not complete.

        The real host awaits top-level actions in order: what follows an incomplete one is not started.
        """
        ready: list[Leaf] = []
        for top in self.tops:
            ready.extend(leaf for leaf in self.leaves_under(top) if not leaf.started)
            if not self.is_complete(top):
                return ready, True
        return ready, False

    def awaited_together(self) -> frozenset[int]:
        """Task ids that must all have ended before a replay can get any further; empty when each one counts."""
        first = next((top for top in self.tops if not self.is_complete(top)), None)
        if first is None or isinstance(first, int) or first[0] != "all":
            return frozenset()
        if any(not isinstance(child, int) for child in first[1]):
            return frozenset()
        leaves = [leaf for leaf in self.leaves_under(first) if not leaf.done]
        return frozenset(leaf.task for leaf in leaves if leaf.task is not None)


_DEFAULTS = asdict(Leaf(-1))


def _sparse(leaf: Leaf) -> dict[str, Any]:
    return {key: value for key, value in vars(leaf).items() if value != _DEFAULTS[key]}


def _describe(kind: int, name: str) -> str:
    words = _NAMES.get(ActionType(kind), "an action")
    return f"{words} '{name}'" if name else words


def _different(plan: Plan, node: Node, action: Action | None) -> NonDeterministicOrchestration:
    if isinstance(node, int):
        leaf = plan.leaves[node]
        before = _describe(leaf.kind, leaf.name)
        number = f" with sequence ID {leaf.task}" if leaf.task is not None else ""
    else:
        kind = ActionType.ANY if node[0] == "any" else ActionType.ALL
        before, number = f"{_describe(kind, '')} of {len(node[1])} tasks", ""
    now = "scheduled nothing there" if action is None else f"scheduled {_describe_action(action)}"
    return NonDeterministicOrchestration(
        "NonDeterministicOrchestrationException: Non-Deterministic workflow detected: a previous execution of "
        f"this orchestration scheduled {before}{number}, but the current replay {now}. Was a change made to "
        "the orchestrator code after this instance had already started running?"
    )


def _describe_action(action: Action) -> str:
    words = _describe(action["actionType"], _name(action))
    if "compoundActions" in action:
        return f"{words} of {len(action['compoundActions'])} tasks"
    return words
