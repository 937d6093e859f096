"""Windows of a large file: each is compared with the bytes of the old file that it came from."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain

import pytest

from imagedelta.delta.content import BytesReader, Extent
from imagedelta.delta.encode.chunks import changed_file
from imagedelta.delta.encode.methods import Encoding, choose
from imagedelta.delta.encode.plan import plan_patch
from imagedelta.delta.encode.windows import Windows, window_count
from imagedelta.delta.format.profiles import V1_64M
from imagedelta.limits import KIB
from tests.images import an_image
from tests.unit.delta.patches import content_of

PROFILE = replace(V1_64M, whole_file_bytes=20 * KIB, window_bytes=16 * KIB, window_reach_bytes=4 * KIB)
WINDOW = PROFILE.window_bytes
OLD = random.Random(5).randbytes(160 * KIB)


def windows(new: bytes, old: bytes) -> Windows:
    return Windows(Extent(BytesReader(new), 0, len(new)), Extent(BytesReader(old), 0, len(old)), PROFILE)


def test_a_window_is_expected_where_the_bytes_before_it_came_from():
    new = b"inserted at the front" + OLD

    found = [windows(new, OLD).window(number).place for number in range(1, 10)]

    assert found == [number * WINDOW - 21 for number in range(1, 10)]


def test_a_drift_that_adds_up_beyond_the_reach_is_followed():
    pieces = [OLD[at : at + WINDOW] + random.Random(at).randbytes(3 * KIB) for at in range(0, len(OLD), WINDOW)]
    new = b"".join(pieces)

    last = windows(new, OLD).window(9)

    assert last.at - last.place > 5 * PROFILE.window_reach_bytes
    assert new[last.at : last.at + 100] in OLD[last.start : last.end]


def test_where_nothing_is_found_the_drift_stays():
    new = b"inserted at the front" + OLD[: 3 * WINDOW] + bytes(4 * WINDOW)

    assert windows(new, OLD).window(6).place == 6 * WINDOW - 21


@pytest.mark.parametrize(
    ("new_size", "old_size", "count"), [(1, 20_480, 1), (20_480, 1, 1), (20_481, 1, 2), (5, 20_481, 1)]
)
def test_only_a_file_that_is_large_is_cut(new_size, old_size, count):
    assert window_count(new_size, old_size, PROFILE) == count


def test_windows_are_the_same_whoever_asks_for_them_first(tmp_path):
    source = an_image({"big": OLD})
    target = an_image({"big": b"some" + OLD[:70_000] + b"more" * 100 + OLD[70_000:]})
    plan = plan_patch(content_of(target), [content_of(source)])
    [(layer, file)] = plan.diffed()

    def pieces(order: list[int]) -> list[object]:
        changed = changed_file(plan, layer, file, Encoding(PROFILE, tmp_path, much_is_new=False))
        made = {window: list(choose(changed, window).pieces()) for window in order}
        return list(chain.from_iterable(made[window] for window in sorted(made)))

    assert pieces([*range(11)]) == pieces([*reversed(range(11))])
