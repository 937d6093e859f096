"""What is known of a patch whose raw streams are complete: all that their coding, anywhere, is given.

Its JSON is private to one version of this program, as the pieces are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imagedelta.delta.encode.stream_coding import Lzma2, StreamPlan
from imagedelta.delta.format.coders import Params
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.roles import Role


@dataclass(frozen=True, slots=True)
class Joined:
    """The streams of a patch, to be coded."""

    plans: tuple[StreamPlan, ...]
    old_text: PatchStream | None
    """Is coded already."""
    scratch_bytes: int

    @property
    def large(self) -> tuple[StreamPlan, ...]:
        """Those that are coded in segments."""
        return tuple(plan for plan in self.plans if plan.lzma2)

    def to_json(self) -> bytes:
        """Return what ``from_json`` takes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Joined:
        """Read what ``to_json`` wrote."""
        stated = json.loads(data)
        old_text = stated["old_text"]
        return cls(tuple(map(_plan, stated["plans"])), _stream(old_text) if old_text else None, stated["scratch_bytes"])


def _plan(stated: Mapping[str, Any]) -> StreamPlan:
    lzma2 = Lzma2(**stated["lzma2"]) if stated["lzma2"] else None
    return StreamPlan(Role(stated["role"]), stated["dictionary"], tuple(stated["segments"]), lzma2)


def _stream(stated: Mapping[str, Any]) -> PatchStream:
    role, params = Role(stated["role"]), Params(**stated["params"])
    return PatchStream(role, stated["coder"], params, stated["raw_bytes"], stated["coded_bytes"])
