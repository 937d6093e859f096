"""Programs that are cut into windows: one delta whose references are predicted over the whole file."""

from dataclasses import replace

import pytest

from imagedelta.delta.content import BytesReader, Extent, in_blocks
from imagedelta.delta.encode import large_programs, methods
from imagedelta.delta.format.profiles import PROFILES
from imagedelta.limits import KIB
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt
from tests.unit.delta.predict.programs import a_program

SMALL = replace(
    PROFILES["v2-64m"], whole_file_bytes=32 * KIB, window_bytes=32 * KIB, window_reach_bytes=16 * KIB
)  # fmt: skip
OLD = a_program(3000)
NEW = a_program(3000, {100: b"\x90" * 7, 1500: b"\xcc" * 33, 2900: b"\x55" * 3})


def test_calls_from_one_window_into_others_are_predicted(tmp_path, monkeypatch):
    source, target = an_image({"bin/app": OLD}), an_image({"bin/app": NEW})

    patch, predicted = a_patch(target, source, scratch=tmp_path, profile=SMALL)

    assert_rebuilt(target, patch, source)
    monkeypatch.setattr(methods, "large_delta", lambda *_: None)
    _, by_window = a_patch(target, source, scratch=tmp_path, profile=SMALL)
    assert predicted.bytes * 3 < by_window.bytes


def test_files_that_are_masked_window_by_window_are_predicted_as_well(tmp_path, monkeypatch):
    source, target = an_image({"bin/app": OLD}), an_image({"bin/app": NEW})
    _, masked_whole = a_patch(target, source, scratch=tmp_path, profile=SMALL)
    monkeypatch.setattr(large_programs, "MASKED_WHOLE_BYTES", 0)

    patch, predicted = a_patch(target, source, scratch=tmp_path, profile=SMALL)

    assert_rebuilt(target, patch, source)
    assert predicted.bytes < 1.1 * masked_whole.bytes


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 100])
def test_a_large_file_is_read_in_blocks(cut):
    data = bytes(range(30))
    read = []

    class Reader(BytesReader):
        def read_at(self, offset, length):
            read.append(length)
            return super().read_at(offset, length)

    file = in_blocks(Extent(Reader(data), 0, len(data)), 8, 2)

    pieces = [file.read_at(at, min(cut, 30 - at)) for at in range(30)]

    assert pieces == [data[at : at + cut] for at in range(30)]
    assert len(read) <= (30 if cut > 8 else 4)


@pytest.mark.parametrize("other", [b"no program" * 20_000, OLD[:18] + b"\xb7" + OLD[19:], OLD[:5] + b"\2" + OLD[6:]])
def test_other_large_files_are_rebuilt(tmp_path, other):
    source, target = an_image({"bin/app": other}), an_image({"bin/app": other[:9] + b"!!" + other[9:]})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=SMALL)

    assert_rebuilt(target, patch, source)
