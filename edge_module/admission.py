"""Whether a bundle may be applied here: everything its sealed head says, held against what is known.

Each refusal is final for the attempt and has its code. Nothing is changed here.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.messages import DesiredProperties
from edge_module.journal import Counters, Journal
from imagedelta.bundles import BundleHead
from imagedelta.delta.decode.opening import PROCESS_BYTES
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.platforms import runs

MAX_CHUNK_BYTES = 16 * 1024 * 1024
"""A chunk is held in memory while it arrives."""


@dataclass(frozen=True)
class Rules:
    """What does not change while the module runs."""

    device_id: str
    platforms: tuple[str, ...]
    """What this device runs, best first."""
    memory_bytes: int


def check_head(head: BundleHead, rules: Rules, journal: Journal, desired: DesiredProperties) -> None:
    """Raises: ContentError with a code ``bundle.*``; LimitExceeded for chunks too large to hold."""
    _check_address(head, rules)
    _check_order(head, journal.counters)
    _check_replay(head, journal)
    if head.bundle_id in desired.revoked_bundles:
        raise ContentError(f"bundle {head.bundle_id} was revoked", code="bundle.revoked")
    check_fit(head, rules, desired)


def _check_address(head: BundleHead, rules: Rules) -> None:
    if head.device_id != rules.device_id:
        raise ContentError(
            f"the bundle is for {_named(head.device_id)}, this is {rules.device_id!r}",
            code="bundle.other_device",
        )


def _named(device_id: str) -> str:
    return f"device {device_id[:80]!r}" if device_id else "any device: it may come by hand, not from the outbox"


def _check_order(head: BundleHead, counters: Counters) -> None:
    if head.number < counters.floor:
        raise ContentError(
            f"bundle number {head.number} is below the floor {counters.floor}", code="bundle.below_floor"
        )


def _check_replay(head: BundleHead, journal: Journal) -> None:
    """Rule: one bundle id, one attempt. What is the same attempt again is answered before this check."""
    known = journal.find_bundle(head.bundle_id)
    if known is not None and (known.transfer_id, known.attempt) != (head.transfer_id, head.attempt):
        raise ContentError(f"bundle {head.bundle_id} was already used for {known.transfer_id}", code="bundle.replayed")


def check_fit(head: BundleHead, rules: Rules, desired: DesiredProperties) -> None:
    """Raises: ContentError with a code ``bundle.*`` when this device cannot run the image or apply the patch."""
    memory_bytes = min(rules.memory_bytes, desired.memory_bytes)
    if not runs(rules.platforms, head.platform):
        own = " and ".join(rules.platforms)
        raise ContentError(f"the image is for {head.platform[:80]}, this device runs {own}", code="bundle.platform")
    if head.memory_bytes + PROCESS_BYTES > memory_bytes:
        raise ContentError(
            f"the patch needs {head.memory_bytes} bytes for its decoders; of {memory_bytes} bytes "
            f"{max(0, memory_bytes - PROCESS_BYTES)} are left for them here",
            code="bundle.memory",
        )
    if head.chunk_bytes > MAX_CHUNK_BYTES:
        raise LimitExceeded(f"chunks of {head.chunk_bytes} bytes, at most {MAX_CHUNK_BYTES}")
