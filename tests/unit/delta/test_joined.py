"""What the coding of streams is given survives its storage, whichever coder was chosen."""

from __future__ import annotations

import pytest

from imagedelta.delta.encode.codings import Coding, Lzma2, Mixed, MixedPrograms, Programs
from imagedelta.delta.encode.joined import Joined
from imagedelta.delta.encode.stream_plans import StreamPlan
from imagedelta.delta.format.coders import LZMA2, LZMA2_X86, MIXED_DIFFERENCES, Params
from imagedelta.delta.format.header import PatchStream
from imagedelta.delta.format.roles import Role


@pytest.mark.parametrize(
    "coding",
    [None, Lzma2(LZMA2), Lzma2(LZMA2_X86, {"lc": 0, "lp": 1}), Programs({"pb": 1}), Mixed(9), MixedPrograms(10)],
)
@pytest.mark.parametrize("flags", [(False, True, False), (True, False, True)])
def test_a_plan_comes_back_as_it_was(coding: Coding | None, flags: tuple[bool, bool, bool]) -> None:
    plan = StreamPlan(Role.CODE, 1 << 20, (5000, 70), coding, 9, *flags)
    coded = PatchStream(Role.DIFF, MIXED_DIFFERENCES, Params(bits=9), 100, 20)
    joined = Joined((plan,), (coded,), 77)

    assert Joined.from_json(joined.to_json()) == joined
