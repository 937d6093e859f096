"""What differences are coded beside: the parts of a match as they are predicted, with their numbers, cut into spans.

Source: docs/formats/patch.md, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from imagedelta.delta.format.mixing import OldSpan, spans
from imagedelta.delta.predict.old import Old, Predicted
from imagedelta.delta.predict.shifts import Stretch


def predicted_spans(
    old: Old, match: Stretch, seen: Callable[[Predicted], object] = lambda part: None
) -> Iterator[OldSpan]:
    """Yield the spans of a match. What a prediction begins with has some of its own: the rest is predicted by it.

    Args:
        seen: Is told of each part before the spans that it ends in.
    """

    def parts() -> Iterator[tuple[bytes, Sequence[int]]]:
        for part in old.parts(match):
            found = old.predicted(part)
            seen(found)
            yield found.data, found.numbers
            if old.predicts and not part.predicted:
                yield b"", ()

    return spans(parts(), match.new)
