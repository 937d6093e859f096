"""Folded items through a whole patch: what is built is also applied, within the scratch that the head states."""

import io
import zipfile
import zlib
from dataclasses import replace

import pytest

from imagedelta.delta import read_patch_header
from imagedelta.delta.format.coders import RAW, Params
from imagedelta.delta.format.header import PatchStream, RebuiltLayer, SourceLayer, header_to_bytes
from imagedelta.delta.format.items import HEADLESS, Way
from imagedelta.delta.format.roles import Role
from imagedelta.errors import ContentError, LimitExceeded
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.hand_made import by_hand, plain, signed
from tests.unit.delta.patches import a_patch, applied, assert_rebuilt, layers_of


def text(lines: int) -> bytes:
    return b"".join(b"class line %d of %d\n" % (number, number * number % 97) for number in range(lines))


def jar(lines: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {"a.class": text(400), "b.class": text(lines)}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()


def broken_stream(plain: int) -> bytes:
    """Return a local zip header whose deflate stream makes so many bytes, and then breaks off."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(plain)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"PK\x03\x04" + bytes(4) + b"\x08\0" + bytes(20) + packed + b"\xff" * 40


@pytest.mark.parametrize("path", ["lib/app.jar", "lib/app-2.jar"])
def test_a_changed_jar_is_folded(tmp_path, path):
    source, target = an_image({"a": b"1", "lib/app.jar": jar(300)}), an_image({"a": b"1", path: jar(310)})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    header = read_patch_header(io.BytesIO(patch))
    assert Role.FOLDS in {stream.role for stream in header.streams}
    assert header.scratch_bytes > len(text(300))
    assert_rebuilt(target, patch, source)


def test_a_new_jar_is_folded_without_a_base(tmp_path):
    target = an_image({"app.jar": jar(300)})

    patch, _ = a_patch(target, scratch=tmp_path)

    assert Role.FOLDS in {stream.role for stream in read_patch_header(io.BytesIO(patch)).streams}
    assert_rebuilt(target, patch)


def test_a_stream_that_breaks_off_beyond_the_scratch_changes_nothing(tmp_path):
    """What is found in a base must not depend on how much scratch a patch takes."""
    source = an_image({"app.jar": jar(300) + broken_stream(3 * MIB)})
    target = an_image({"app.jar": jar(310)})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    header = read_patch_header(io.BytesIO(patch))
    assert Role.FOLDS in {stream.role for stream in header.streams}
    assert header.scratch_bytes < 3 * MIB
    assert_rebuilt(target, patch, source)


def test_an_unfolded_base_over_the_stated_scratch_is_refused(tmp_path):
    source, target = an_image({"app.jar": jar(300)}), an_image({"app.jar": jar(310)})
    patch, _ = a_patch(target, source, scratch=tmp_path)
    header = read_patch_header(io.BytesIO(patch))
    less = header_to_bytes(replace(header, scratch_bytes=header.scratch_bytes - 1))

    with pytest.raises(LimitExceeded):
        applied(less + patch[len(header_to_bytes(header)) :], source)


def test_streams_left_over_in_a_patch_that_rebuilds_nothing_are_refused(tmp_path):
    source = an_image({"a": b"1"})
    target = an_image(source.layers[0], note="other config")
    patch, _ = a_patch(target, source, scratch=tmp_path)
    header = read_patch_header(io.BytesIO(patch))
    more = replace(header, streams=(*header.streams, PatchStream(Role.TEXT, RAW, Params(), 4, 4)))

    with pytest.raises(ContentError):
        applied(header_to_bytes(more) + patch[len(header_to_bytes(header)) :] + b"text", source)


@pytest.mark.parametrize(("count", "refused"), [(30, False), (31, True)])
def test_a_patch_that_unfolds_a_base_for_every_byte_is_refused_before_it_takes_hours(count, refused):
    """Each of its items costs the 16 MiB of the base and 1 MiB more, and 512 MiB are free: a few bytes, and no end."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("zeros"), bytes(16 * MIB), zipfile.ZIP_DEFLATED, 9)
    source, target = an_image({"a.zip": out.getvalue()}), an_image(b"x" * count)
    one = [1, 0, 0]  # of the folded item, its inside and the item there: each makes one byte
    streams = {
        Role.CONFIG: target.image.config,
        Role.ITEMS: bytes([Way.FOLDED | HEADLESS, Way.LITERAL | HEADLESS] * count + [Way.END | HEADLESS]),
        Role.BASES: plain(1) * count,
        Role.LENGTHS: signed(*one * count, -(-count % 512) - 1024),
        Role.FOLDS: plain(0) * count,
        Role.LITERAL: target.layers[0],
    }
    patch = by_hand(
        streams,
        target_image_id=target.image_id,
        source_image_ids=(source.image_id,),
        source_layers=(SourceLayer(0, 0, 1),),
        layers=(RebuiltLayer(target.image.diff_ids[0], count),),
        config_bytes=len(target.image.config),
        scratch_bytes=17 * MIB,
    )

    if refused:
        with pytest.raises(LimitExceeded, match="unfolds more"):
            applied(patch, source)
    else:
        assert applied(patch, source)[1].layers == layers_of(target)
