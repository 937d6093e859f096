"""Generated images: every patch makes its target; every damaged patch makes it too or is refused."""

import io
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta import BytesReader, apply_patch
from imagedelta.delta.format.config_text import restore, shorten
from imagedelta.delta.format.profiles import PROFILES, V1_64M
from imagedelta.errors import ImageDeltaError
from tests.images import an_image
from tests.unit.delta import raw_tars
from tests.unit.delta.patches import MemorySink, a_patch, assert_rebuilt, layers_of
from tests.vectors.reader import Patch

_SMALL_WINDOWS = replace(V1_64M, name="test", whole_file_bytes=900, window_bytes=400, window_reach_bytes=200)
_PROFILES = (V1_64M, PROFILES["v2-64m"], PROFILES["v2-64m-cm-thin"], _SMALL_WINDOWS)

_names = st.sampled_from(["a", "lib/b.so.1", "lib/b.so.2", "etc/c.conf", "x/y/z", "n" * 120])
_parts = st.sampled_from([b"one", b"two words ", b"\0" * 40, bytes(range(256)), b"MZ" + b"\1\2\3" * 90])
_contents = st.lists(_parts | st.binary(max_size=60), max_size=8).map(b"".join)
_byte_names = st.sampled_from([b"a", b"lib/b.so.1", b"\xff\xfe", b"n" * 100]) | st.binary(max_size=12)
_headers = st.builds(
    raw_tars.a_header,
    _byte_names,
    st.integers(0, 2000),
    kind=st.sampled_from([b"0", b"\0", b"1", b"2", b"3", b"5", b"7", b"S", b"x", b"L", b"Z"]),
    mtime=st.integers(0, 4),
    mode=st.sampled_from([0o644, 0o4755]),
    link=st.sampled_from([b"", b"a"]) | st.binary(max_size=4),
    magic=st.sampled_from([raw_tars.USTAR, raw_tars.GNU, raw_tars.V7]),
    size_field=st.none()
    | st.integers(0, 2000).map(lambda size: raw_tars.base_256(size, 12))
    | st.just(b"        7 \0\0"),
    mtime_field=st.none() | st.just(raw_tars.base_256(-1, 12)),
    fields=st.none() | st.just({345: b"prefix\0odd"}) | st.just({500: b"odd"}),
)
_files = st.builds(
    lambda name, data, mtime: raw_tars.a_file(name, data, mtime=mtime), _byte_names, _contents, st.integers(0, 4)
)
_extended = st.builds(lambda name, file: raw_tars.pax(path=name, comment=b"any") + file, _byte_names, _files)
_odd_tars = st.lists(_headers | _files | _extended | st.just(bytes(512)) | st.binary(max_size=700), max_size=5).map(
    lambda parts: b"".join(parts) + raw_tars.END
)
_layers = st.dictionaries(_names, _contents, max_size=5) | st.binary(max_size=1500) | _odd_tars
_images = st.lists(_layers, max_size=3).map(lambda layers: an_image(*layers))


@settings(max_examples=300)
@given(_images, st.lists(_images, max_size=2), st.sampled_from(_PROFILES))
def test_every_patch_makes_its_target(target, sources, profile):
    with tempfile.TemporaryDirectory() as scratch:
        patch, _ = a_patch(target, *sources, scratch=Path(scratch), profile=profile)

    assert_rebuilt(target, patch, *sources)
    configs = {source.image_id: source.image.config for source in sources}
    assert Patch(patch, layers_of(*sources), configs).apply() == (target.image.config, layers_of(target))


_SOURCE = an_image({"a": bytes(range(256)) * 20, "b": b"text of some length\n" * 60}, {"c": b"\1\2\3" * 400})
_TARGET = an_image({"a": bytes(range(255, -1, -1)) + bytes(range(256)) * 19, "b": b"text\n" * 200}, {"d": b"new" * 99})


def _good_patch() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        return a_patch(_TARGET, _SOURCE, scratch=Path(scratch))[0]


_GOOD = _good_patch()
_CONFIGS = {_SOURCE.image_id: _SOURCE.image.config}


@settings(max_examples=800)
@given(st.data())
def test_a_mutated_patch_makes_the_target_or_is_refused(data):
    mutated = bytearray(_GOOD)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        mutated[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=8))
    sink = MemorySink()
    known = {diff_id: BytesReader(tar) for diff_id, tar in layers_of(_SOURCE).items()}

    try:
        image = apply_patch(io.BytesIO(bytes(mutated)), known.__getitem__, _CONFIGS.__getitem__, sink)
    except ImageDeltaError:
        assert not sink.half_done
        assert sink.layers.items() <= layers_of(_TARGET).items()
        return

    assert (image.image_id, sink.layers) == (_TARGET.image_id, layers_of(_TARGET))


@settings(max_examples=800)
@given(st.data())
def test_a_mutated_head_with_a_right_checksum_makes_the_target_or_is_refused(data):
    """The checksum finds accidents, not attackers: behind it every field has to hold by itself."""
    end = 17 + int.from_bytes(_GOOD[9:13], "little")
    body = bytearray(_GOOD[17:end])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
    head = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
    sink = MemorySink()
    known = {diff_id: BytesReader(tar) for diff_id, tar in layers_of(_SOURCE).items()}

    try:
        image = apply_patch(
            io.BytesIO(_GOOD[:9] + head + bytes(body) + _GOOD[end:]), known.__getitem__, _CONFIGS.__getitem__, sink
        )
    except ImageDeltaError:
        assert not sink.half_done
        assert sink.layers.items() <= layers_of(_TARGET).items()
        return

    assert (image.image_id, sink.layers) == (_TARGET.image_id, layers_of(_TARGET))


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_no_patch(data):
    for prefix in (b"", _GOOD[:13], _GOOD[:200]):
        sink = MemorySink()
        try:
            apply_patch(io.BytesIO(prefix + data), {}.__getitem__, {}.__getitem__, sink)
        except ImageDeltaError:
            assert (sink.layers, sink.half_done) == ({}, [])
            continue
        raise AssertionError("accepted")


_digests = ["sha256:" + f"{number:064x}" for number in range(5)]
_texts = st.lists(st.binary(max_size=20) | st.sampled_from([digest[7:].encode() for digest in _digests]), max_size=12)


@given(_texts.map(b"".join), st.integers(0, 5))
def test_every_config_is_restored_from_its_short_form(config, layers):
    assert restore(shorten(config, _digests[:layers]), _digests[:layers], len(config)) == config
