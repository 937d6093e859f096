"""Deltas: differences added to old bytes, and extra bytes between them. Source: docs/formats/patch.md, section 4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from imagedelta.delta.content import Extent, in_blocks
from imagedelta.delta.decode.differences import Differences, DifferencesBesideOld, PlainDifferences, Steps, sizes
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.items import Item
from imagedelta.delta.format.mixing import MixedDifferences
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.delta.predict.bounds import Bounds
from imagedelta.delta.predict.clr import CORRECTIONS_AT_MOST
from imagedelta.delta.predict.controls import FARTHEST, Control, Controls, stretches
from imagedelta.delta.predict.kinds import Kind, kinds_of
from imagedelta.delta.predict.old import Old, Unpredicted
from imagedelta.delta.predict.prediction import Prediction
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import KIB


class Deltas:
    """The deltas of a patch, in the order of its items."""

    def __init__(
        self, tapes: Mapping[Role, StreamTape], mixed: MixedDifferences | None, run_bytes: int, bounds: Bounds | None
    ) -> None:
        """Args:
        mixed: Differences, where they are coded beside old bytes.
        run_bytes: Zeros after which the rest of a run is counted.
        bounds: Of predictions, where each delta says which of its references are predicted.
        """
        self._tapes = tapes
        self._mixed = mixed
        self._run_bytes = run_bytes
        self._bounds = bounds

    def pieces(self, item: Item, base: Extent | None) -> Iterator[bytes]:
        """Yield what a delta makes; without a base nothing, but streams move on."""
        differences = self._differences()
        base = in_blocks(base, _BLOCK_BYTES, _BLOCKS) if base else None
        kinds = kinds_of(self._tapes[Role.PREDICTIONS].number()) if self._bounds else Kind.NONE
        if kinds and self._bounds:
            old, steps = self._predicted(kinds, self._bounds, item, base)
        else:
            old, steps = Unpredicted(base) if base else None, stretches(item.offset, self._read(item.length))
        if old:
            yield from differences.made(old, steps, self._tapes[Role.EXTRA])
        else:
            self._pass_by(differences, steps)
        differences.finish()

    @property
    def need_old(self) -> bool:
        """Whether old bytes are needed even where the bytes that are made are not."""
        return self._mixed is not None

    def finish(self) -> None:
        """Check that all differences were used, where they are in no tape."""
        if self._mixed:
            self._mixed.finish()

    def _differences(self) -> Differences:
        if self._mixed:
            return DifferencesBesideOld(self._mixed)
        return PlainDifferences(ZeroRuns(self._tapes[Role.DIFF], self._tapes[Role.ZEROS], self._run_bytes))

    def _pass_by(self, differences: Differences, steps: Steps) -> None:
        for match, extra_bytes in steps:
            differences.skip(match.length)
            for size in sizes(extra_bytes):
                self._tapes[Role.EXTRA].read(size)

    def _predicted(self, kinds: Kind, bounds: Bounds, item: Item, base: Extent | None) -> tuple[Old | None, Steps]:
        corrections = self._corrections() if kinds & Kind.CLR else []
        controls = Controls(item.offset, _bounded(self._read(item.length), bounds.controls))
        if base is None:
            return None, controls.steps()
        bounds.check(kinds, item.length, base.size)
        return Prediction(kinds, corrections, base, controls), controls.steps()

    def _corrections(self) -> list[int]:
        tape = self._tapes[Role.PREDICTIONS]
        count = tape.number()
        if count > CORRECTIONS_AT_MOST:
            raise LimitExceeded(f"{count} corrections of a predicted delta, at most {CORRECTIONS_AT_MOST}")
        return [tape.signed() for _ in range(count)]

    def _read(self, left: int) -> Iterator[Control]:
        """Yield the controls that make so many bytes, as the streams are read."""
        same_bytes, extra_bytes, seeks = (self._tapes[role] for role in _CONTROLS)
        while left:
            same, extra = same_bytes.number(), extra_bytes.number()
            if not 0 < same + extra <= left:
                raise ContentError(f"a delta makes {same + extra} bytes where {left} are left")
            left -= same + extra
            yield same, extra, seeks.signed()


_BLOCK_BYTES, _BLOCKS = 4 * KIB, 256
"""What of a base is in memory at once: matches that follow each other lie near each other, mostly."""
_CONTROLS = Role.DIFF_LENGTHS, Role.EXTRA_LENGTHS, Role.SEEKS


def _bounded(controls: Iterable[Control], most: int) -> Iterator[Control]:
    """Yield the controls of a delta with predictions, which are all in memory at once."""
    for count, control in enumerate(controls):
        if count == most:
            raise LimitExceeded(f"a predicted delta of more than {most} controls")
        _, _, seek = control
        if not -FARTHEST < seek < FARTHEST:
            raise ContentError(f"a predicted delta moves by {seek} bytes")
        yield control
