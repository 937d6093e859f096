"""Takes what failed out of a run that has failed, so that it goes on from what succeeded. Pure.

Tasks without a success begin anew: those that failed, and those that were under way when the run ended. Their events
stay as generic ones, which a replay passes over. The SDK counts task ids anew on replay, in the order of events: each
task that is left gets its old id less the number of ids below it that were taken out.
Source: RewindHistoryAsync of DurableTask.AzureStorage. Other than there, timers and retries are rewound too, and a
failure that the orchestrator caught and went on from stays: without it a replay would ask for something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imagedelta_host.durable.history import NAMES, STARTS, Event, EventType, task_of
from imagedelta_host.durable.plan import ActionType, Leaf, Plan
from imagedelta_host.errors import HostError

GoesOn = Callable[[str, int], bool]
"""Whether the sub-orchestration of that id, started under that task id, can go on or has a result by now."""


class RewindImpossible(HostError):
    """What the run had asked for is not known in full: it began under an older version of this host."""

    code = "host.rewind_impossible"


@dataclass(frozen=True)
class Rewound:
    """What is left of a run.

    Attributes:
        history: All of its events, those taken back as generic ones.
        children: The sub-orchestrations that go on, each with the task id under which it is awaited now.
    """

    history: list[Event]
    children: dict[str, int]


def rewind(plan: Plan, history: Sequence[Event], goes_on: GoesOn) -> Rewound:
    """Take the failure of a run back; ``plan`` is changed, too.

    Raises:
        RewindImpossible: The history holds tasks that the plan does not know.
    """
    past = _Past(history)
    past.require_known(plan)
    staying = {task for leaf in _staying(plan, past) for task in leaf.tasks}
    undone = [leaf for leaf in plan.leaves if leaf.task is not None and leaf.task not in staying]
    children = {leaf.tasks[0]: child for leaf in undone if (child := past.child_of(leaf, goes_on)) is not None}
    _forget_tail(plan, staying | children.keys())

    tasked = [leaf for leaf in plan.leaves if leaf.task is not None]
    numbers = _numbers(staying | {leaf.tasks[0] for leaf in tasked})
    for leaf in tasked:
        if leaf.task in staying:
            _keep(leaf, numbers)
        else:
            _begin_anew(leaf, numbers, children.get(leaf.tasks[0]))
    plan.next_task, plan.raised = len(numbers), past.raised
    ends = {task: numbers[task] for task in staying}
    awaited = {child.task: numbers[first] for first, child in children.items()}
    rewritten = [_rewritten(entry, ends | awaited, ends) for entry in history]
    return Rewound(rewritten, {child.instance: awaited[child.task] for child in children.values()})


def _numbers(tasks: set[int]) -> dict[int, int]:
    """The new ids of the tasks that are left."""
    return {old: new for new, old in enumerate(sorted(tasks))}


@dataclass(frozen=True)
class _Child:
    """A sub-orchestration that is still awaited, and the task id it was last started under."""

    instance: str
    task: int
    input: str | None


class _Past:
    """A history by task id."""

    def __init__(self, history: Sequence[Event]) -> None:
        self._starts: dict[int, Event] = {}
        self._fired: set[int | None] = set()
        self._completed: set[int | None] = set()
        self.raised: dict[str, int] = dict(
            Counter(entry["Name"] for entry in history if entry["EventType"] == EventType.EVENT_RAISED)
        )
        for entry in history:
            kind = entry["EventType"]
            if kind in STARTS:
                self._starts[entry["EventId"]] = entry
            elif kind == EventType.TIMER_FIRED:
                self._fired.add(task_of(entry))
            elif kind in (EventType.TASK_COMPLETED, EventType.CHILD_COMPLETED):
                self._completed.add(task_of(entry))

    def require_known(self, plan: Plan) -> None:
        known = {task for leaf in plan.leaves for task in leaf.tasks}
        if not known.issuperset(self._starts):
            raise RewindImpossible(
                "what this instance had asked for is not recorded in full, as it ran under an older version of the "
                "embedded host: restart it"
            )

    def succeeded(self, leaf: Leaf) -> bool:
        ended = self._fired if leaf.kind == ActionType.TIMER else self._completed
        return not ended.isdisjoint(leaf.tasks)

    def child_of(self, leaf: Leaf, goes_on: GoesOn) -> _Child | None:
        """The sub-orchestration of the last attempt, if it goes on."""
        for task in reversed(leaf.tasks):
            start = self._starts.get(task)
            if start is not None and start["EventType"] == EventType.CHILD_CREATED:
                child = _Child(start["InstanceId"], task, start["Input"])
                return child if goes_on(child.instance, task) else None
        return None


def _staying(plan: Plan, past: _Past) -> list[Leaf]:
    """Leaves with a result for good: a success, or a failure after which the orchestrator began something else."""
    last = max(
        (n for n, top in enumerate(plan.tops) if any(leaf.started for leaf in plan.leaves_under(top))), default=0
    )
    left_behind = [leaf for top in plan.tops[:last] for leaf in plan.leaves_under(top)]
    failed = [leaf for leaf in left_behind if leaf.done and leaf.kind != ActionType.TIMER]
    return [*filter(past.succeeded, plan.leaves), *failed]


def _forget_tail(plan: Plan, held: set[int]) -> None:
    """Forget the last actions of which nothing is left: the orchestrator may ask for others in their place."""
    while plan.tops and held.isdisjoint(task for leaf in plan.leaves_under(plan.tops[-1]) for task in leaf.tasks):
        plan.tops.pop()
    del plan.leaves[sum(1 for top in plan.tops for _ in plan.leaves_under(top)) :]


def _keep(leaf: Leaf, numbers: dict[int, int]) -> None:
    *leaf.spent, leaf.task = [numbers[task] for task in leaf.tasks]
    leaf.done, leaf.input = True, None


def _begin_anew(leaf: Leaf, numbers: dict[int, int], child: _Child | None) -> None:
    """Have a leaf started again, or wait for the sub-orchestration of it that goes on."""
    leaf.spent, leaf.task = [], numbers[leaf.tasks[0]]
    leaf.attempt, leaf.retrying, leaf.done = 1, False, False
    leaf.started = child is not None
    leaf.input = child.input if child is not None and leaf.retries else None


def _rewritten(entry: Event, starts: dict[int, int], ends: dict[int, int]) -> Event:
    kind = entry["EventType"]
    if kind in STARTS:
        task = starts.get(entry["EventId"])
        return _taken_back(entry) if task is None else {**entry, "EventId": task}
    if (ended := task_of(entry)) is not None:
        key = "TimerId" if kind == EventType.TIMER_FIRED else "TaskScheduledId"
        return _taken_back(entry) if ended not in ends else {**entry, key: ends[ended]}
    return _taken_back(entry) if kind == EventType.EXECUTION_COMPLETED else entry


def _taken_back(entry: Event) -> Event:
    """A generic event in place of one that no longer holds; for whoever reads the history it says what failed."""
    told: Event = {key: entry[key] for key in ("Name", "Reason", "Details") if key in entry}
    return {
        "EventType": int(EventType.GENERIC),
        "EventId": -1,
        "IsPlayed": True,
        "Timestamp": entry["Timestamp"],
        "Data": f"Rewound: {NAMES[EventType(entry['EventType'])]}",
        **told,
    }
