"""How to build an image so that its next version costs less: rules over what each file of an update costs.

Every rule looks at names, times and contents that the two images show; none guesses at a Dockerfile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imagedelta.delta.content import ImageContent
from imagedelta.delta.encode.costs import FileCost
from imagedelta.delta.encode.plan import Choice

_LEFTOVERS = re.compile(
    rb"^(var/lib/apt/lists/|var/cache/(apt|debconf|ldconfig|apk)/|var/log/|root/\.(cache|npm|nuget)/|tmp/|usr/share/(man|info)/)"
    rb"|/__pycache__/.*\.opt-|/\.git/"
)
_SYMBOLS = re.compile(rb"\.(pdb|dbg|debug|map)$")
_PACKED = re.compile(rb"\.(zip|jar|war|whl|nupkg|tgz|gz|xz|zst|bz2)$")
_WORTH_SAYING = 0.01
"""Part of all costs from which on a rule speaks."""
_FEW = 5
"""Paths that are shown per rule."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to change in how the image is built."""

    topic: str
    files: int
    cost: int
    """Bytes, about, that it is about; 0 where it costs time rather than bytes."""
    advice: str
    examples: tuple[str, ...]


def advise(new: ImageContent, costs: Sequence[FileCost]) -> list[Advice]:
    """Return what would make the update cheaper, dearest first."""
    total = sum(cost.cost for cost in costs) or 1
    found = [advice for rule in _RULES for advice in rule(new, costs)]
    worth = [advice for advice in found if not advice.cost or advice.cost >= _WORTH_SAYING * total]
    return sorted(worth, key=lambda advice: (-advice.cost, advice.topic))


def _leftovers(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    yield from _about(
        [cost for cost in costs if cost.cost and _LEFTOVERS.search(cost.path)],
        "leftovers of the build",
        "Remove package lists, caches and logs in the RUN that makes them: a later RUN only hides them.",
    )


def _symbols(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    yield from _about(
        [cost for cost in costs if cost.cost and _SYMBOLS.search(cost.path)],
        "debug symbols",
        "Keep symbols and source maps out of the image (a symbol server, a separate debug image).",
    )


def _packed_files(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    yield from _about(
        [cost for cost in costs if _PACKED.search(cost.path) and cost.cost > cost.size // 2],
        "packed archives",
        "Unpack archives in the image, or pack them with plain zlib: where their bytes cannot be made again, "
        "a small change inside costs the whole archive.",
    )


def _moved_names(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    yield from _about(
        [cost for cost in costs if cost.choice is Choice.NEW and cost.cost],
        "files without a predecessor",
        "Keep names stable between builds (no version or hash of your own in folder names), so that a change finds "
        "what it changed; new content costs its packed size in any case.",
    )


def _stamps(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    stamped = [cost for cost in costs if cost.choice is Choice.STAMPED]
    if stamped:
        yield _advice(
            stamped,
            "compiled Python with times",
            "Set SOURCE_DATE_EPOCH, or compile with --invalidation-mode unchecked-hash: only a time in them differs.",
        )


def _times(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    """A layer that is made anew although nearly all of its files are as they were."""
    for position in range(len(new.layers)):
        files = [cost for cost in costs if cost.layer == position]
        same = [cost for cost in files if cost.choice in (Choice.SOURCE, Choice.STAMPED)]
        if len(same) == len(files) > 0:
            yield _advice(
                same,
                f"layer {position + 1} holds nothing new",
                "It was only built again: use the build cache, fixed times (SOURCE_DATE_EPOCH with "
                "rewrite-timestamp=true), or put what changes often into later layers.",
            )


def _twice(new: ImageContent, costs: Sequence[FileCost]) -> Iterator[Advice]:
    lower: dict[tuple[bytes, bytes], int] = {}
    again = []
    known = {(cost.layer, cost.path): cost for cost in costs}
    for position, layer in enumerate(new.layers):
        for entry in layer.index.entries:
            if entry.size and lower.setdefault((entry.path, entry.digest), position) != position:
                cost = known.get((position, entry.path))
                if cost:
                    again.append(cost)
    if again:
        yield _advice(
            again,
            "files that a lower layer has already",
            "A chmod, chown or touch in a RUN copies whole files: use COPY --chown --chmod instead.",
        )


_Rule = Callable[[ImageContent, Sequence[FileCost]], Iterator[Advice]]
_RULES: tuple[_Rule, ...] = (_leftovers, _symbols, _packed_files, _moved_names, _stamps, _times, _twice)


def _about(costs: Sequence[FileCost], topic: str, advice: str) -> Iterator[Advice]:
    if costs:
        yield _advice(costs, topic, advice)


def _advice(costs: Sequence[FileCost], topic: str, advice: str) -> Advice:
    dearest = sorted(costs, key=lambda cost: (-cost.cost, -cost.size, cost.path))[:_FEW]
    examples = tuple(cost.path.decode("utf-8", "replace") for cost in dearest)
    return Advice(topic, len(costs), sum(cost.cost for cost in costs), advice, examples)
