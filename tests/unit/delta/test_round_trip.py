import hashlib
import io
import random
import tarfile
import zlib
from dataclasses import replace

import pytest

from imagedelta.delta import ImageContent, apply_patch, read_patch_header
from imagedelta.delta.encode import build_patch, verify_patch
from imagedelta.delta.encode.build import Stage
from imagedelta.delta.format.profiles import V1_16M, V1_64M
from imagedelta.delta.format.roles import Role
from imagedelta.errors import DigestMismatch, RequestError
from imagedelta.limits import KIB, MIB
from tests.images import BuiltImage, a_layer, a_tar, an_image
from tests.unit.delta.patches import MemorySink, a_patch, applied, assert_rebuilt, content_of, layers_of, streams_of

TINY_WINDOWS = replace(
    V1_64M, name="tiny-windows", whole_file_bytes=20 * KIB, window_bytes=8 * KIB, window_reach_bytes=4 * KIB
)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def text(lines: int, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    return b"".join(b"%d: option %d = %d\n" % (n, rng.randrange(40), rng.randrange(90)) for n in range(lines))


def edited(data: bytes, seed: int = 1) -> bytes:
    """Return ``data`` with a few insertions, deletions and changes."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(4):
        at = rng.randrange(len(out))
        out[at : at + rng.randrange(30)] = rng.randbytes(rng.randrange(30))
    return bytes(out)


BASE = a_layer({"etc/os": text(50), "lib/": b"", "lib/libc.so": noise(20_000)})
APP_1 = {"app/main.dll": noise(60_000, 1), "app/readme.txt": text(400), "app/run": b"-> main.dll"}
APP_2 = {"app/main.dll": edited(APP_1["app/main.dll"]), "app/readme.txt": text(401), "app/run": b"-> main.dll"}


def test_a_patch_makes_the_target_from_the_source(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert_rebuilt(target, patch, source)


def test_a_patch_without_a_source_makes_the_target_from_nothing(tmp_path):
    target = an_image(BASE, APP_2)

    patch, _ = a_patch(target, scratch=tmp_path)

    assert_rebuilt(target, patch)


def test_a_small_change_costs_a_small_patch(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)

    patch, summary = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 1500 < summary.full_bytes / 50


def test_the_summary_describes_the_patch(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)

    patch, summary = a_patch(target, source, scratch=tmp_path)

    header = read_patch_header(io.BytesIO(patch))
    assert summary.bytes == len(patch)
    assert summary.sha256 == hashlib.sha256(patch).hexdigest()
    assert summary.crc32 == zlib.crc32(patch)
    assert (summary.target_image_id, summary.source_image_ids) == (target.image_id, (source.image_id,))
    assert summary.memory_bytes == header.memory_bytes
    assert summary.full_bytes == header.full_bytes == sum(map(len, target.layers)) + len(target.image.config)
    assert summary.bytes_read > 0


def test_the_same_images_give_the_same_patch(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)

    assert a_patch(target, source, scratch=tmp_path) == a_patch(target, source, scratch=tmp_path)


def test_building_leaves_nothing_in_the_scratch_folder(tmp_path):
    a_patch(an_image({"new": noise(1000) * 3000}), scratch=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_layer_the_source_has_is_copied_whole_and_costs_no_stream(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_1, note="only the config changed")

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert set(streams_of(patch)) == {Role.CONFIG}
    assert_rebuilt(target, patch, source)


def test_a_moved_file_costs_no_content(tmp_path):
    source = an_image({"old/place": noise(50_000)})
    target = an_image({"new/name": noise(50_000)})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 700
    assert_rebuilt(target, patch, source)


def test_content_that_occurs_again_in_the_target_is_sent_once(tmp_path):
    new = noise(50_000)
    target = an_image({"a/x": new, "b/x": new}, {"c/y": new, "d": b"end"})

    patch, _ = a_patch(target, scratch=tmp_path)

    assert len(patch) < 52_000
    assert read_patch_header(io.BytesIO(patch)).scratch_bytes == 50_000
    assert_rebuilt(target, patch)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("usr/lib/libicu.so.72", "usr/lib/libicu.so.76"),
        ("usr/lib/libicu.so", "opt/lib/libicu.so"),
        ("app-1.2/data.bin", "app-1.3/data.bin"),
    ],
)
def test_a_file_with_another_version_in_its_path_finds_its_base(tmp_path, old, new):
    content = noise(80_000)
    source, target = an_image({old: content}), an_image({new: edited(content)})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 1500
    assert_rebuilt(target, patch, source)


def test_files_of_one_name_use_the_one_in_the_most_similar_folder(tmp_path):
    contents = {f"pkg/{name}/index.js": text(300, seed) for seed, name in enumerate("abcd")}
    source = an_image(contents)
    target = an_image({f"srv/{path}": content + b"// 2\n" for path, content in contents.items()})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 1500
    assert_rebuilt(target, patch, source)


def test_a_second_source_helps(tmp_path):
    first, second = an_image({"a": noise(40_000)}), an_image({"b": noise(40_000, 2)})
    target = an_image({"a": edited(noise(40_000)), "b": edited(noise(40_000, 2))})

    patch, summary = a_patch(target, first, second, scratch=tmp_path)

    assert summary.source_image_ids == (first.image_id, second.image_id)
    assert len(patch) < 1500
    assert_rebuilt(target, patch, first, second)


def test_more_than_16_sources_are_refused(tmp_path):
    sources = [an_image({"a": b"%d" % number}) for number in range(17)]

    with pytest.raises(RequestError):
        a_patch(an_image({"a": b"x"}), *sources, scratch=tmp_path)


def test_a_large_file_is_cut_into_windows_that_follow_its_drift(tmp_path):
    """Every window inserts 700 bytes, so the last ones lie far from where they were."""
    old = noise(200_000)
    new = b"".join(old[at : at + 8000] + noise(700, at) for at in range(0, len(old), 8000))
    source, target = an_image({"big": old}), an_image({"big": new})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=TINY_WINDOWS)

    assert len(patch) < 25 * 700 + 4000
    assert_rebuilt(target, patch, source)


def test_unchanged_windows_of_a_large_file_are_copied(tmp_path):
    old = noise(200_000)
    new = old[:100_000] + b"!" + old[100_001:]
    source, target = an_image({"big": old}), an_image({"big": new})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=TINY_WINDOWS)

    assert streams_of(patch)[Role.DIFF] <= TINY_WINDOWS.window_bytes
    assert_rebuilt(target, patch, source)


@pytest.mark.parametrize(
    ("old_size", "new_size"), [(0, 50_000), (1, 50_000), (50_000, 1), (100, 50_000), (50_000, 25_000)]
)
def test_windows_of_files_that_grew_or_shrank_round_trip(tmp_path, old_size, new_size):
    content = noise(60_000)
    source, target = an_image({"big": content[:old_size]}), an_image({"big": content[-new_size:]})

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=TINY_WINDOWS)

    assert_rebuilt(target, patch, source)


@pytest.mark.parametrize(
    "layer",
    [
        b"",
        b"not a tar at all",
        noise(200_000),
        a_layer({"a": b"x"})[:-700],
        a_layer({"a": b"x"}) + noise(5000),
        a_layer({"a": noise(5000)})[:3000],
        a_layer({"x" * 200 + "/" + "ü" * 60: b"pax"}),
        a_tar([(tarfile.TarInfo("n" * 300), b"")], form=tarfile.GNU_FORMAT),
        bytes(100_000),
    ],
    ids=["empty", "text", "noise", "no end", "trailing bytes", "cut", "pax", "gnu", "zeros"],
)
def test_any_bytes_of_a_layer_round_trip(tmp_path, layer):
    source, target = an_image(APP_1), an_image(APP_2, layer)

    patch, _ = a_patch(target, source, scratch=tmp_path)
    full, _ = a_patch(target, scratch=tmp_path)

    assert_rebuilt(target, patch, source)
    assert_rebuilt(target, full)


def test_the_same_layer_twice_in_an_image_is_made_once(tmp_path):
    layer = a_layer({"a": noise(30_000)})
    target = an_image(layer, APP_1, layer)

    patch, _ = a_patch(target, scratch=tmp_path)
    _, sink = applied(patch)

    assert sink.log.count(f"commit {target.image.diff_ids[0][7:13]}") == 1
    assert_rebuilt(target, patch)


def test_headers_of_unchanged_files_cost_next_to_nothing(tmp_path):
    """A rebuild that only moves times: 300 files, 300 headers that differ in the time."""
    files = {f"site-packages/pkg{n % 7}/module_{n}.py": text(3, n) for n in range(300)}
    source, target = an_image(a_layer(files, mtime=1_700_000_000)), an_image(a_layer(files, mtime=1_700_086_411))

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 300 * 10
    assert_rebuilt(target, patch, source)


def test_much_code_and_text_goes_into_streams_of_its_own(tmp_path):
    files = {f"lib{n}.so": b"\x7fELF" + noise(1000, n) * 800 for n in range(6)}
    files |= {"notes": text(2000), "data": b"\0" + noise(1000)}
    target = an_image(files)

    patch, _ = a_patch(target, scratch=tmp_path)

    assert {Role.CODE, Role.TEXT, Role.LITERAL} <= set(streams_of(patch))
    assert_rebuilt(target, patch)


def test_a_smaller_memory_class_takes_less_memory_on_the_device(tmp_path):
    target = an_image({"a": noise(150_000) + noise(150_000)})
    small_class = replace(V1_16M, decoder_bytes=5 * MIB, max_dictionary_bytes=64 * KIB)

    large = a_patch(target, scratch=tmp_path, profile=V1_64M)[1]
    small = a_patch(target, scratch=tmp_path, profile=small_class)[1]

    assert small.memory_bytes < large.memory_bytes <= V1_64M.decoder_bytes
    assert small.bytes > 1.9 * large.bytes, "the second half lies beyond the small dictionary"


def test_finished_layers_are_not_made_again_after_a_kill(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(APP_2, {"x": edited(noise(20_000))}, {"y": noise(9000, 5)})
    patch, _ = a_patch(target, source, scratch=tmp_path)
    for present in range(4):
        done = dict(list(layers_of(target).items())[:present])

        image, sink = applied(patch, source, sink=MemorySink(done))

        assert sink.layers == layers_of(target)
        assert len(sink.log) == 2 * (3 - present)
        assert image.diff_ids == target.image.diff_ids


@pytest.mark.parametrize("done", range(3))
def test_a_layer_in_the_middle_may_be_there_already(tmp_path, done):
    """What is kept for later layers is made even where its own layer is passed by."""
    new = noise(20_000)
    source = an_image({"b": noise(20_000, 3)})
    target = an_image({"a": new}, {"b": edited(noise(20_000, 3)), "c": new}, {"d": new, "e": text(30)})
    patch, _ = a_patch(target, source, scratch=tmp_path)
    present = {target.image.diff_ids[done]: target.layers[done]}

    _, sink = applied(patch, source, sink=MemorySink(present))

    assert sink.layers == layers_of(target)


def test_no_layer_is_read_when_every_layer_is_there(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)
    patch, _ = a_patch(target, source, scratch=tmp_path)

    sink = MemorySink(layers_of(target))
    image = apply_patch(io.BytesIO(patch), {}.__getitem__, {source.image_id: source.image.config}.__getitem__, sink)

    assert (image.config, sink.log) == (target.image.config, [])


def test_a_patch_may_stand_inside_a_larger_stream(tmp_path):
    target = an_image(APP_1)
    patch, _ = a_patch(target, scratch=tmp_path)
    stream = io.BytesIO(b"head of a bundle" + patch)
    stream.seek(16)
    sink = MemorySink()

    apply_patch(stream, {}.__getitem__, {}.__getitem__, sink)

    assert sink.layers == layers_of(target)


def contents(*images: BuiltImage) -> list[ImageContent]:
    return [content_of(image) for image in images]


def test_verification_accepts_the_patch_of_these_images(tmp_path):
    source, target = an_image(BASE, APP_1), an_image(BASE, APP_2)
    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert verify_patch(io.BytesIO(patch), content_of(target), contents(source)).image_id == target.image_id


def test_verification_refuses_the_patch_of_another_target(tmp_path):
    source, target, other = an_image(BASE, APP_1), an_image(BASE, APP_2), an_image(BASE, {"a": b"x"})
    patch, _ = a_patch(other, source, scratch=tmp_path)

    with pytest.raises(DigestMismatch):
        verify_patch(io.BytesIO(patch), content_of(target), contents(source))


def test_progress_ends_at_all_of_all(tmp_path):
    seen: list[tuple[int, int]] = []
    target = an_image(APP_1, {"b": noise(1000)})

    def progress(stage: Stage, done: int, total: int) -> None:
        if stage is Stage.CODING:
            seen.append((done, total))

    build_patch(content_of(target), [], io.BytesIO(), scratch=tmp_path, progress=progress)

    assert seen == sorted(seen)
    changed = sum(map(len, APP_1.values())) - len(APP_1["app/run"]) + 1000
    assert seen[-1] == (changed, changed)
