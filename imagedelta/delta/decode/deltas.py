"""Deltas: differences added to old bytes, and extra bytes between them. Source: docs/formats/patch.md, section 4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagedelta.delta import byte_sums
from imagedelta.delta.content import Extent
from imagedelta.delta.decode.differences import Differences, DifferencesBesideOld, PlainDifferences
from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.format.items import Item
from imagedelta.delta.format.mixing import MixedDifferences
from imagedelta.delta.format.roles import Role
from imagedelta.delta.format.zero_runs import ZeroRuns
from imagedelta.delta.predict import differences as numbers
from imagedelta.delta.predict.bounds import Bounds
from imagedelta.delta.predict.clr import CORRECTIONS_AT_MOST
from imagedelta.delta.predict.controls import Controls
from imagedelta.delta.predict.kinds import Kind, kinds_of
from imagedelta.delta.predict.prediction import Prediction
from imagedelta.errors import ContentError, LimitExceeded


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
        kinds = kinds_of(self._tapes[Role.PREDICTIONS].number()) if self._bounds else Kind.NONE
        if kinds and self._bounds:
            yield from self._predicted(kinds, self._bounds, item, base, differences)
        else:
            yield from self._plain(item, base, differences)
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

    def _plain(self, item: Item, base: Extent | None, differences: Differences) -> Iterator[bytes]:
        position, made = item.offset, 0
        while made < item.length:
            same, extra, seek = self._control(item.length - made)
            yield from differences.added(base, position, same)
            yield from self._extra(extra)
            position += same + seek
            made += same + extra

    def _predicted(
        self, kinds: Kind, bounds: Bounds, item: Item, base: Extent | None, differences: Differences
    ) -> Iterator[bytes]:
        """As ``_plain``, but differences are added to what the old bytes are predicted to become."""
        corrections = self._corrections() if kinds & Kind.CLR else []
        controls = self._controls(item, bounds)
        if base is None:
            for match, extra in controls.steps():
                differences.skip(match.length)
                for _ in self._extra(extra):
                    pass
            return
        bounds.check(kinds, item.length, base.size)
        prediction = Prediction(kinds, corrections, base, controls)
        for match, extra in controls.steps():
            for old, added in differences.of_parts(prediction, match):
                made = numbers.add(old, added)
                prediction.show(made)
                yield made
            for data in self._extra(extra):
                prediction.show(data)
                yield data

    def _extra(self, length: int) -> Iterator[bytes]:
        tape = self._tapes[Role.EXTRA]
        for at in range(0, length, byte_sums.PIECE_BYTES):
            yield tape.read(min(byte_sums.PIECE_BYTES, length - at))

    def _corrections(self) -> list[int]:
        tape = self._tapes[Role.PREDICTIONS]
        count = tape.number()
        if count > CORRECTIONS_AT_MOST:
            raise LimitExceeded(f"{count} corrections of a predicted delta, at most {CORRECTIONS_AT_MOST}")
        return [tape.signed() for _ in range(count)]

    def _controls(self, item: Item, bounds: Bounds) -> Controls:
        controls, left = Controls(item.offset), item.length
        while left:
            if len(controls) == bounds.controls:
                raise LimitExceeded(f"a predicted delta of more than {bounds.controls} controls")
            same, extra, seek = self._control(left)
            controls.add(same, extra, _small(seek))
            left -= same + extra
        return controls

    def _control(self, remaining: int) -> tuple[int, int, int]:
        same = self._tapes[Role.DIFF_LENGTHS].number()
        extra = self._tapes[Role.EXTRA_LENGTHS].number()
        seek = self._tapes[Role.SEEKS].signed()
        if not 0 < same + extra <= remaining:
            raise ContentError(f"a delta makes {same + extra} bytes where {remaining} are left")
        return same, extra, seek


_FARTHEST = 1 << 48


def _small(seek: int) -> int:
    if not -_FARTHEST < seek < _FARTHEST:
        raise ContentError(f"a predicted delta moves by {seek} bytes")
    return seek
