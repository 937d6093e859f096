"""Text coded against old text: what liblzma wrote with a dictionary, Python's lzma reads."""

import io
import random
from dataclasses import replace

import pytest

from imagedelta.delta import read_patch_header
from imagedelta.delta.encode import dictionary_lzma
from imagedelta.delta.format.coders import LZMA2_DICTIONARY
from imagedelta.delta.format.dictionary_reading import decoder_behind
from imagedelta.delta.format.profiles import V1_64M
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt


def text(lines: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return b"".join(
        b"export const v%d = f%d(%d);\n" % (n, rng.randrange(900), rng.randrange(9999)) for n in range(lines)
    )


@pytest.mark.parametrize("old", [b"", b"x", text(50, 1), text(9000, 1)], ids=["none", "one byte", "some", "much"])
@pytest.mark.parametrize("new", [b"y", text(60, 1), text(9000, 2)], ids=["one byte", "alike", "other"])
def test_what_was_compressed_behind_old_text_comes_out(old, new):
    coded = dictionary_lzma.compress(old, new, 1 * MIB)

    decoder = decoder_behind([old[:100], old[100:]], 1 * MIB)

    assert decoder.decompress(coded) == new
    assert (decoder.eof, decoder.unused_data) == (True, b"")


def test_old_text_makes_like_text_small():
    old = text(5000, 1)

    assert len(dictionary_lzma.compress(old, old[:-7] + b"// end\n", 1 * MIB)) < 100


def many(seed: int) -> dict[str, bytes]:
    return {f"app/pkg{number % 5}/f{number}.js": text(3000, number) + text(30, seed) for number in range(60)}


def test_much_text_goes_into_several_frames(tmp_path):
    small_frames = replace(V1_64M, old_text_bytes=3 * MIB)
    source, target = an_image(many(1)), an_image(many(2))

    patch, _ = a_patch(target, source, scratch=tmp_path, profile=small_frames)

    stream = next(stream for stream in read_patch_header(io.BytesIO(patch)).streams if stream.role is Role.OLD_TEXT)
    assert (stream.coder, stream.params.dictionary_bytes <= 3 * MIB) == (LZMA2_DICTIONARY, True)
    assert stream.raw_bytes > 5 * MIB
    assert_rebuilt(target, patch, source)


def test_where_liblzma_cannot_be_called_text_is_a_delta(tmp_path, monkeypatch):
    monkeypatch.setattr(dictionary_lzma, "can_compress", lambda: False)
    source, target = an_image({"a.txt": text(300, 1)}), an_image({"a.txt": text(300, 1) + b"end"})

    patch, _ = a_patch(target, source, scratch=tmp_path)

    roles = {stream.role for stream in read_patch_header(io.BytesIO(patch)).streams}
    assert Role.OLD_TEXT not in roles
    assert Role.DIFF_LENGTHS in roles
    assert_rebuilt(target, patch, source)
