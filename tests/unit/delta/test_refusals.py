"""What apply_patch refuses, with which code, and that nothing half-done stays."""

import io
import lzma
import random
import tracemalloc
from dataclasses import replace

import brotli
import pytest

from imagedelta.delta import BytesReader, apply_patch, name_layers, read_patch_header
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.format import config_text
from imagedelta.delta.format.coders import BROTLI, LZMA2, LZMA2_DICTIONARY, RAW, Params
from imagedelta.delta.format.header import (
    MAGIC,
    RebuiltLayer,
    SourceLayer,
    WholeLayer,
    header_to_bytes,
)
from imagedelta.delta.format.items import HEADLESS, KEEP, Way
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ImageDeltaError, LimitExceeded, SourceMissing
from imagedelta.limits import MIB, Limits
from tests.images import an_image
from tests.unit.delta.hand_made import CONFIGS, HAND, LAYER, LITERAL, SOURCE, by_hand, plain, refused, signed
from tests.unit.delta.patches import MemorySink, a_patch, applied, layers_of

TARGET = an_image({"a": random.Random(1).randbytes(30_000)[:-9] + b"different", "t": b"text\n" * 101, "n": b"new" * 50})


@pytest.fixture(scope="module")
def patch(tmp_path_factory):
    return a_patch(TARGET, SOURCE, scratch=tmp_path_factory.mktemp("scratch"))[0]


def test_a_patch_cut_at_any_byte_is_truncated(patch):
    for cut in range(len(patch)):
        assert refused(patch[:cut], SOURCE) == "content.truncated"


def test_bytes_after_the_patch_are_refused(patch):
    assert refused(patch + b"\0", SOURCE) == "content.invalid"


def test_a_patch_changed_at_any_byte_never_makes_another_image(patch):
    for position in range(len(patch)):
        damaged = bytearray(patch)
        damaged[position] ^= 1 << position % 8
        sink = MemorySink()
        known = {diff_id: BytesReader(tar) for diff_id, tar in layers_of(SOURCE).items()}
        try:
            image = apply_patch(io.BytesIO(bytes(damaged)), known.__getitem__, CONFIGS.__getitem__, sink)
        except ImageDeltaError as error:
            assert error.code.startswith(("content.", "patch.", "source."))
            assert (sink.half_done, sink.layers) == ([], {}), position
        else:
            assert (image.image_id, sink.layers) == (TARGET.image_id, layers_of(TARGET)), position


def test_a_source_layer_that_is_not_there_is_named(patch):
    with pytest.raises(SourceMissing, match=SOURCE.image.diff_ids[0]) as refusal:
        apply_patch(io.BytesIO(patch), {}.__getitem__, CONFIGS.__getitem__, MemorySink())

    assert refusal.value.code == "source.missing"


def test_a_source_image_that_is_not_there_is_named(patch):
    with pytest.raises(SourceMissing, match=SOURCE.image_id) as refusal:
        applied(patch)

    assert refusal.value.code == "source.missing"


def test_a_source_config_with_other_bytes_is_refused(patch):
    sink = MemorySink()
    with pytest.raises(SourceMissing) as refusal:
        apply_patch(io.BytesIO(patch), layers_of(SOURCE).__getitem__, lambda image_id: b"{}", sink)

    assert (refusal.value.code, sink.layers) == ("source.different", {})


def test_a_source_layer_with_other_bytes_is_told_from_a_bad_patch(patch):
    rotten = bytearray(SOURCE.layers[0])
    rotten[700] ^= 1
    sink = MemorySink()

    with pytest.raises(SourceMissing) as refusal:
        apply_patch(io.BytesIO(patch), lambda diff_id: BytesReader(bytes(rotten)), CONFIGS.__getitem__, sink)

    assert (refusal.value.code, sink.layers, sink.half_done) == ("source.different", {}, [])


def test_a_source_layer_that_is_too_short_is_told_too(patch):
    with pytest.raises(ImageDeltaError) as refusal:
        apply_patch(
            io.BytesIO(patch), lambda diff_id: BytesReader(SOURCE.layers[0][:2000]), CONFIGS.__getitem__, MemorySink()
        )

    assert refusal.value.code == "source.different"


def test_a_whole_layer_with_other_bytes_is_refused(tmp_path):
    target = an_image(SOURCE.layers[0], note="other config")
    patch, _ = a_patch(target, SOURCE, scratch=tmp_path)
    rotten = SOURCE.layers[0][:-1] + b"\1"
    sink = MemorySink()

    with pytest.raises(SourceMissing) as refusal:
        apply_patch(io.BytesIO(patch), lambda diff_id: BytesReader(rotten), CONFIGS.__getitem__, sink)

    assert (refusal.value.code, sink.layers, sink.half_done) == ("source.different", {}, [])


def test_a_patch_that_needs_more_memory_than_the_device_gives_is_refused(patch):
    assert refused(patch, SOURCE, memory_limit=40 * MIB) == "patch.memory"


def test_an_image_over_the_limit_is_refused(patch):
    assert refused(patch, SOURCE, limits=Limits(max_image_bytes=10_000)) == "content.limit_exceeded"
    assert refused(patch, SOURCE, limits=Limits(max_layers=0)) == "content.limit_exceeded"
    assert refused(patch, SOURCE, limits=Limits(max_config_bytes=10)) == "content.limit_exceeded"


def test_another_magic_is_no_patch_and_another_version_is_unsupported(patch):
    assert refused(b"\x89imgdelT" + patch[8:]) == "content.invalid"
    assert refused(MAGIC + b"\2" + patch[9:]) == "content.unsupported"


def test_a_head_that_declares_gigabytes_is_refused_before_it_is_read(patch):
    assert refused(patch[:9] + b"\xff\xff\xff\x7f" + patch[13:]) == "content.limit_exceeded"


def delta(*controls: tuple[int, int, int], offset: int = 0) -> dict[Role, bytes]:
    sames, extras, seeks = zip(*controls, strict=True)
    return {
        **LITERAL,
        Role.ITEMS: bytes([Way.DELTA | HEADLESS, Way.END | HEADLESS]),
        Role.BASES: signed(0),
        Role.OFFSETS: signed(offset),
        Role.DIFF_LENGTHS: plain(*sames),
        Role.EXTRA_LENGTHS: plain(*extras),
        Role.SEEKS: signed(*seeks),
        Role.DIFF: b"\1" * sum(sames),
        Role.EXTRA: bytes(sum(extras)),
        Role.LITERAL: b"",
    }


def copy(member: int, offset: int, length: int = 1024) -> dict[Role, bytes]:
    return {
        Role.ITEMS: bytes([Way.COPY | HEADLESS, Way.END | HEADLESS]),
        Role.LENGTHS: signed(length, -1024),
        Role.BASES: signed(member),
        Role.OFFSETS: signed(offset),
    }


def items(*ways: int) -> dict[Role, bytes]:
    return {**LITERAL, Role.ITEMS: bytes(ways)}


def without_empty(streams: dict[Role, bytes]) -> dict[Role, bytes]:
    return {role: data for role, data in streams.items() if data}


def test_a_patch_made_by_hand_is_taken():
    _, sink = applied(by_hand(LITERAL), SOURCE)

    assert sink.layers == layers_of(HAND)


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ({**LITERAL, Role.LITERAL: LAYER[::-1]}, "content.digest_mismatch"),
        ({**LITERAL, Role.LITERAL: LAYER[:-1]}, "content.truncated"),
        ({**LITERAL, Role.TEXT: b"left over"}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(1025, -1024)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(1 << 62, -1024)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(1000, -1024)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(0, -1024)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(-1, -1024)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: signed(1024, -1025)}, "content.invalid"),
        ({**LITERAL, Role.LENGTHS: b"\xff" * 11}, "content.invalid"),
        (items(Way.LITERAL | HEADLESS), "content.truncated"),
        (items(14 | HEADLESS, Way.END | HEADLESS), "content.unsupported"),
        (items(0x40 | Way.LITERAL | HEADLESS), "content.unsupported"),
        (items(KEEP | Way.END | HEADLESS), "content.unsupported"),
        (items(KEEP | Way.KEPT | HEADLESS), "content.unsupported"),
        (items(Way.END), "content.invalid"),
        (items(Way.ODD), "content.invalid"),
        (items(Way.SAME | HEADLESS), "content.invalid"),
        (items(Way.NONE | HEADLESS), "content.invalid"),
        (items(KEEP | Way.LITERAL | HEADLESS, Way.END | HEADLESS), "content.limit_exceeded"),
        (copy(0, 1 << 40), "content.invalid"),
        (copy(0, -1), "content.invalid"),
        (copy(0, 30_000 - 1023), "content.invalid"),
        (copy(2, 0), "content.invalid"),
        (copy(-1, 0), "content.invalid"),
        (copy(1 << 60, 0), "content.invalid"),
        (copy(0, 0), "content.digest_mismatch"),
        (delta((1024, 0, 0)), "content.digest_mismatch"),
        (delta((1024, 1, 0)), "content.invalid"),
        (delta((0, 0, 5), (1024, 0, 0)), "content.invalid"),
        (delta((10, 0, -11), (1014, 0, 0)), "content.invalid"),
        (delta((10, 0, 29_900), (1014, 0, 0)), "content.invalid"),
        (delta((1024, 0, 0), offset=29_000), "content.invalid"),
        (delta((512, 0, 0)), "content.truncated"),
        (delta((1024, 0, 0)) | {Role.DIFF: bytes(1024)}, "content.truncated"),
        (delta((1024, 0, 0)) | {Role.DIFF: bytes(32), Role.ZEROS: plain(1 << 50)}, "content.invalid"),
    ],
)
def test_items_that_break_a_rule_are_refused(streams, code):
    assert refused(by_hand(without_empty(streams)), SOURCE) == code


def test_a_control_of_exabytes_is_refused_before_anything_is_read():
    streams = delta((1024, 0, 0)) | {Role.DIFF_LENGTHS: plain(1 << 62)}

    assert refused(by_hand(without_empty(streams)), SOURCE) == "content.invalid"


def bomb(coder: int) -> tuple[int, Params, bytes]:
    zeros = bytes(200 * MIB)
    if coder == BROTLI:
        return coder, Params(window_log=17), brotli.compress(zeros, quality=3, lgwin=17)
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 65536, "preset": 0}]
    return coder, Params(dictionary_bytes=65536), lzma.compress(zeros, lzma.FORMAT_RAW, filters=filters)


@pytest.mark.parametrize("coder", [LZMA2, BROTLI])
def test_a_stream_that_unpacks_to_more_than_it_states_is_refused_without_unpacking_it(coder):
    patch = by_hand(LITERAL, coded={Role.LITERAL: bomb(coder)})
    tracemalloc.start()
    try:
        code = refused(patch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert code in {"content.invalid", "content.digest_mismatch"}
    assert peak < 20 * MIB


@pytest.mark.parametrize(
    ("number", "params", "code"),
    [
        (LZMA2, Params(dictionary_bytes=100), "content.limit_exceeded"),
        (LZMA2, Params(dictionary_bytes=1 << 31), "content.limit_exceeded"),
        (LZMA2, Params(dictionary_bytes=1 << 30), "patch.memory"),
        (BROTLI, Params(window_log=9), "content.limit_exceeded"),
        (BROTLI, Params(window_log=25), "content.limit_exceeded"),
        (LZMA2_DICTIONARY, Params(dictionary_bytes=4096), "content.invalid"),
        (LZMA2, Params(dictionary_bytes=4096), "content.invalid"),
        (BROTLI, Params(window_log=24), "content.invalid"),
    ],
)
def test_a_stream_with_impossible_parameters_or_damaged_bytes_is_refused(number, params, code):
    assert refused(by_hand(LITERAL, coded={Role.LITERAL: (number, params, b"\xff" * 40)})) == code


def test_a_brotli_stream_that_asks_for_a_larger_window_than_it_states_is_refused():
    _, _, packed = bomb(BROTLI)

    code = refused(by_hand(LITERAL, coded={Role.LITERAL: (BROTLI, Params(window_log=16), packed)}))

    assert code == "content.limit_exceeded"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"target_image_id": "sha256:" + "0" * 64}, "content.digest_mismatch"),
        ({"platform": "linux/arm64"}, "content.invalid"),
        ({"platform": "../../etc"}, "content.invalid"),
        ({"profile": "a\nb"}, "content.invalid"),
        ({"config_bytes": 5}, "content.limit_exceeded"),
        ({"config_bytes": len(HAND.image.config) + 1}, "content.invalid"),
        ({"layers": ()}, "content.limit_exceeded"),
        ({"layers": (RebuiltLayer("sha256:" + "0" * 64, 1024),)}, "content.invalid"),
        ({"layers": (RebuiltLayer(HAND.image.diff_ids[0], 1 << 50),)}, "content.limit_exceeded"),
        ({"layers": (WholeLayer(7, 1024),)}, "content.invalid"),
        ({"source_layers": (SourceLayer(1, 0, 2),)}, "content.invalid"),
        ({"source_layers": (SourceLayer(0, 1, 2),)}, "content.invalid"),
        (
            {"source_layers": (SourceLayer(0, 0, 2),) * 2, "layers": (WholeLayer(0, 512), WholeLayer(1, 512))},
            "content.invalid",
        ),
        ({"layers": tuple(RebuiltLayer(HAND.image.diff_ids[0], size) for size in (1024, 5))}, "content.invalid"),
        ({"source_image_ids": ("sha256:" + "0" * 64,) * 17}, "content.limit_exceeded"),
    ],
)
def test_a_head_that_breaks_a_rule_is_refused(changes, code):
    assert refused(by_hand(LITERAL, **changes), SOURCE) == code


@pytest.mark.parametrize("order", ["twice", "falling"])
def test_streams_out_of_order_are_refused(order):
    header = read_patch_header(io.BytesIO(by_hand(LITERAL)))
    rows = header.streams[::-1] if order == "falling" else (*header.streams, header.streams[-1])

    head = header_to_bytes(replace(header, streams=rows))

    assert refused(head + bytes(5000)) == "content.invalid"


@pytest.mark.parametrize("number", [RAW, LZMA2, BROTLI])
def test_a_stream_that_holds_less_than_its_head_states_is_refused(number):
    params = {LZMA2: Params(dictionary_bytes=4096), BROTLI: Params(window_log=12)}.get(number, Params())
    packed = {
        RAW: LAYER,
        BROTLI: brotli.compress(LAYER, lgwin=12),
        LZMA2: lzma.compress(LAYER, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]),
    }[number]
    good = by_hand(LITERAL, coded={Role.LITERAL: (number, params, packed)})
    header = read_patch_header(io.BytesIO(good))
    rows = [replace(row, raw_bytes=row.raw_bytes + (row.role is Role.LITERAL)) for row in header.streams]

    more = header_to_bytes(replace(header, streams=tuple(rows))) + good[len(header_to_bytes(header)) :]

    assert applied(good, SOURCE)[1].layers == layers_of(HAND)
    assert refused(more, SOURCE) == "content.invalid"


def test_a_raw_size_that_no_step_could_use_is_refused():
    header = read_patch_header(io.BytesIO(by_hand(LITERAL)))
    rows = tuple(replace(row, raw_bytes=1 << 40) for row in header.streams)

    with pytest.raises(LimitExceeded):
        read_patch_header(io.BytesIO(header_to_bytes(replace(header, streams=rows))))


def test_a_config_that_names_a_layer_that_is_not_there_is_refused():
    config = HAND.image.config.replace(HAND.image.diff_ids[0][7:].encode(), b"\xff\x05")

    assert refused(by_hand(LITERAL | {Role.CONFIG: config})) == "content.invalid"


def test_a_source_image_that_is_not_here_is_named(patch):
    with pytest.raises(SourceMissing, match=SOURCE.image_id) as refusal:
        name_layers(read_patch_header(io.BytesIO(patch)), {}.__getitem__)

    assert refusal.value.code == "source.missing"


def test_an_empty_stream_must_not_be_coded_against_old_text_where_there_is_none():
    streams = LITERAL | {Role.TEXT: b""}

    assert applied(by_hand(streams), SOURCE)[1].layers == layers_of(HAND)
    coded = {Role.TEXT: (LZMA2_DICTIONARY, Params(dictionary_bytes=4096), b"")}
    assert refused(by_hand(streams, coded=coded), SOURCE) == "content.invalid"


@pytest.mark.parametrize("frames", [1, 2])
def test_a_config_is_one_frame(tmp_path, frames):
    target = an_image({"a": b"1"}, note="x" * 1_200_000)
    good, _ = a_patch(target, SOURCE, scratch=tmp_path)
    header = read_patch_header(io.BytesIO(good))
    (row, *rows), end = header.streams, len(header_to_bytes(header))
    text = config_text.shorten(target.image.config, target.image.diff_ids)
    dictionary = config_text.shorten(SOURCE.image.config, SOURCE.image.diff_ids)
    parts = [text] if frames == 1 else [text[: MIB + 9], text[MIB + 9 :]]
    coded = b"".join(dictionary_lzma.compress(dictionary, part, row.params.dictionary_bytes) for part in parts)
    head = header_to_bytes(replace(header, streams=(replace(row, coded_bytes=len(coded)), *rows)))

    patch = head + coded + good[end + row.coded_bytes :]

    if frames == 1:
        assert applied(patch, SOURCE)[0].config == target.image.config
    else:
        assert refused(patch, SOURCE) == "content.invalid"
