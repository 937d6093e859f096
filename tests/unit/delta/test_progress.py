"""A build says what it is at, from its first moment to its last."""

from __future__ import annotations

import io
from itertools import groupby

from imagedelta.delta.encode.build import Stage
from imagedelta.delta.encode.verified import build_verified_patch
from tests.images import an_image
from tests.unit.delta.patches import content_of


def test_every_stage_is_told_and_what_is_counted_ends_whole(tmp_path):
    target = an_image({f"file-{number}": bytes([number]) * 5000 + b"new" for number in range(9)})
    source = an_image({f"file-{number}": bytes([number]) * 5000 for number in range(9)})
    told: list[tuple[Stage, int, int]] = []

    build_verified_patch(
        content_of(target),
        [content_of(source)],
        io.BytesIO(),
        scratch=tmp_path,
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )

    assert [stage for stage, _ in groupby(stage for stage, _, _ in told)] == list(Stage)
    coded = [(done, total) for stage, done, total in told if stage is Stage.CODING]
    assert coded[-1][0] == coded[-1][1] > 0
    assert coded == sorted(coded)
