"""What is known of a patch whose raw streams are complete: all that their coding, anywhere, is given.

Its JSON is private to one version of this program, as the pieces are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from imagedelta.delta.encode.codings import Coding, Lzma2, Mixed, MixedPrograms, Programs
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.format.coders import MIXED_BYTES, MIXED_PROGRAMS, PROGRAMS, Params
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.roles import Role

_CODINGS: dict[int, type[Coding]] = {PROGRAMS: Programs, MIXED_BYTES: Mixed, MIXED_PROGRAMS: MixedPrograms}
"""Those of other coders are LZMA2's."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The streams of a patch, to be coded."""

    plans: tuple[StreamPlan, ...]
    coded: tuple[PatchStream, ...]
    """Those that are coded already: what goes through all files in their order."""
    scratch_bytes: int

    @property
    def large(self) -> tuple[StreamPlan, ...]:
        """Those that are coded in segments."""
        return tuple(plan for plan in self.plans if plan.coding)

    def to_json(self) -> bytes:
        """Return what ``from_json`` takes."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Joined:
        """Read what ``to_json`` wrote."""
        stated = json.loads(data)
        plans, coded = map(_plan, stated["plans"]), map(_stream, stated["coded"])
        return cls(tuple(plans), tuple(coded), stated["scratch_bytes"])


def _plan(stated: Mapping[str, Any]) -> StreamPlan:
    return StreamPlan(
        Role(stated["role"]),
        stated["dictionary"],
        tuple(stated["segments"]),
        _coding(stated["coding"]),
        stated["bits"],
        stated["has_programs"],
        stated["may_brotli"],
        stated["has_code"],
    )


def _coding(stated: Mapping[str, Any] | None) -> Coding | None:
    return _CODINGS.get(stated["coder"], Lzma2)(**stated) if stated else None


def _stream(stated: Mapping[str, Any]) -> PatchStream:
    role, params = Role(stated["role"]), Params(**stated["params"])
    return PatchStream(role, stated["coder"], params, stated["raw_bytes"], stated["coded_bytes"])
