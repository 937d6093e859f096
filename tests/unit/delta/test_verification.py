"""What verification holds, and that its cost follows the change."""

import io
import random
from dataclasses import replace

import pytest

from imagedelta.delta import BytesReader, ImageContent, LayerContent, read_patch_header
from imagedelta.delta.encode import build_patch, build_verified_patch, verify_patch
from imagedelta.delta.encode.remembering import Memory
from imagedelta.delta.format.header import header_to_bytes
from imagedelta.errors import ContentError, DigestMismatch
from tests.images import BuiltImage, an_image
from tests.unit.delta.patches import a_patch, applied, assert_rebuilt, content_of

LARGE = {f"lib/{number}": random.Random(number).randbytes(900_000) for number in range(3)}
SOURCE = an_image({**LARGE, "app": random.Random(7).randbytes(20_000)})
TARGET = an_image({**LARGE, "app": random.Random(7).randbytes(20_000)[:-5] + b"other", "new": b"x" * 900})


def counted(built: BuiltImage) -> tuple[ImageContent, Memory]:
    reads = Memory(limit=0)
    return reads.image(content_of(built)), reads


def test_files_that_are_copied_whole_are_not_read(tmp_path):
    patch, _ = a_patch(TARGET, SOURCE, scratch=tmp_path)
    source, source_reads = counted(SOURCE)
    target, target_reads = counted(TARGET)

    verify_patch(io.BytesIO(patch), target, [source])

    assert source_reads.bytes_read < 30_000
    assert target_reads.bytes_read == 0, "the index knows what the target has"


def test_headers_of_sources_come_from_their_indexes(tmp_path):
    source = an_image({f"etc/{number}": b"%d" % number for number in range(300)})
    target = an_image({f"etc/{number}": b"%d" % number for number in range(1, 300)})
    patch, _ = a_patch(target, source, scratch=tmp_path)
    content, reads = counted(source)

    verify_patch(io.BytesIO(patch), content_of(target), [content])

    assert reads.bytes_read == 0


def test_building_and_verifying_read_each_changed_byte_once(tmp_path):
    source, source_reads = counted(SOURCE)
    target, target_reads = counted(TARGET)

    with (tmp_path / "patch").open("w+b") as patch:
        summary = build_verified_patch(target, [source], patch, scratch=tmp_path)

    read = source_reads.bytes_read + target_reads.bytes_read
    assert summary.bytes_read == read
    assert read < 2 * 20_000 + 900 + 2 * 4096


def test_what_does_not_fit_into_memory_is_read_again():
    memory = Memory(limit=100)
    remembered = memory.image(content_of(SOURCE)).layers[0].reader

    for _ in range(2):
        assert remembered.read_at(512, 80) == SOURCE.layers[0][512:592]
        assert remembered.read_at(550, 20) == SOURCE.layers[0][550:570]
        assert remembered.read_at(2048, 60) == SOURCE.layers[0][2048:2108]

    assert memory.bytes_read == 80 + 2 * 60


def test_a_target_whose_stored_bytes_rotted_is_noticed(tmp_path):
    """The patch is built of what is stored; only the index still knows what was registered."""
    target = content_of(TARGET)
    entry = next(entry for entry in target.layers[0].index.entries if entry.path == b"app")
    rotten = bytearray(TARGET.layers[0])
    rotten[entry.offset + 19_000] ^= 1
    layer = LayerContent(target.layers[0].index, BytesReader(bytes(rotten)))
    stored = ImageContent(target.image_id, target.config, (layer,))
    patch = io.BytesIO()
    build_patch(stored, [content_of(SOURCE)], patch, scratch=tmp_path)

    with pytest.raises(DigestMismatch, match="app"):
        verify_patch(io.BytesIO(patch.getvalue()), stored, [content_of(SOURCE)])


def test_what_is_accepted_of_damaged_patches_makes_the_image_all_the_same(tmp_path):
    source = an_image({"a": random.Random(1).randbytes(3000), "t": b"line\n" * 90})
    target = an_image({"a": random.Random(1).randbytes(3000) + b"!", "t": b"line\n" * 91, "n": b"12345" * 9})
    patch, _ = a_patch(target, source, scratch=tmp_path)
    accepted = 0
    for position in range(len(patch)):
        damaged = bytearray(patch)
        damaged[position] ^= 1 << position % 8
        try:
            verify_patch(io.BytesIO(bytes(damaged)), content_of(target), [content_of(source)])
        except ContentError:
            continue
        assert_rebuilt(target, bytes(damaged), source)
        accepted += 1

    assert accepted < len(patch) / 20, "bits that a coder ignores"


def test_a_copy_of_another_file_of_the_same_size_is_noticed(tmp_path):
    """The patch is right for one target; for the other, one file of the same size has other content."""
    one, two = random.Random(1).randbytes(5000), random.Random(2).randbytes(5000)
    source = an_image({"one": one, "two": two})
    patch, _ = a_patch(an_image({"x": one}), source, scratch=tmp_path)

    with pytest.raises(DigestMismatch):
        verify_patch(io.BytesIO(patch), content_of(an_image({"x": two})), [content_of(source)])


def test_a_whole_layer_with_another_size_is_refused_as_the_device_would(tmp_path):
    target = an_image(SOURCE.layers[0], note="other config")
    patch, _ = a_patch(target, SOURCE, scratch=tmp_path)
    header = read_patch_header(io.BytesIO(patch))
    (layer,) = header.layers
    longer = header_to_bytes(replace(header, layers=(replace(layer, size=layer.size + 512),)))
    damaged = longer + patch[len(header_to_bytes(header)) :]

    with pytest.raises(DigestMismatch):
        verify_patch(io.BytesIO(damaged), content_of(target), [content_of(SOURCE)])
    with pytest.raises(DigestMismatch):
        applied(damaged, SOURCE)
