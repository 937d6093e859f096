"""Damaged tars and archives as content: whatever a layer holds, its patch makes it, and both readers agree."""

from __future__ import annotations

import gzip
import io
import random
import tempfile
from functools import cache
from pathlib import Path

from imagedelta.delta.deflate.folding import Folder
from imagedelta.delta.deflate.folds import ReadAt
from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.delta.encode.fold_finding import find_folds
from imagedelta.delta.format.profiles import V2_64M
from imagedelta.limits import MIB
from imagedelta.signatures import LayerIndex, index_layer
from tests.fuzz.mutations import mutated, spliced
from tests.images import a_layer, an_image
from tests.unit.delta import tar_kinds as kinds
from tests.unit.delta.patches import a_patch, assert_rebuilt, layers_of
from tests.vectors import make
from tests.vectors.reader import Patch, unfolded

MADE = "made"
_FROM_OTHERS = 0.7


def build(rng: random.Random) -> str:
    """A patch between damaged tars makes its target; the second reader makes the same."""
    source, target = an_image(_tar(rng)), an_image(_tar(rng), note="new")
    with tempfile.TemporaryDirectory() as scratch:
        patch, _ = a_patch(target, source, scratch=Path(scratch))
    assert_rebuilt(target, patch, source)
    read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()
    assert read == (target.image.config, layers_of(target)), "the second reader makes something else"
    return MADE


def programs(rng: random.Random) -> str:
    """A patch of the second format of damaged programs, from others or none, makes its target; the second reader makes
    the same."""
    source, target = (an_image(mutated(rng, image.layers[1])) for image in (make.PROGRAMS_1, make.PROGRAMS_2))
    sources = [source] if rng.random() < _FROM_OTHERS else []
    with tempfile.TemporaryDirectory() as scratch:
        patch, _ = a_patch(target, *sources, scratch=Path(scratch), profile=V2_64M)
    assert_rebuilt(target, patch, *sources)
    read = Patch(patch, layers_of(*sources), {each.image_id: each.image.config for each in sources}).apply()
    assert read == (target.image.config, layers_of(target)), "the second reader makes something else"
    return MADE


def layer_index(rng: random.Random) -> str:
    """A damaged tar is indexed; its members are in order within it, and the index survives storage."""
    tar = _tar(rng)
    index = index_layer(io.BytesIO(tar))
    end = 0
    for entry in index.entries:
        assert end <= entry.header_offset < entry.offset <= len(tar), "members overlap"
        end = entry.offset + entry.size
    assert end <= len(tar)
    assert LayerIndex.from_bytes(index.to_bytes()) == index
    return MADE


def folds(rng: random.Random) -> str:
    """A damaged archive is unfolded alike by both readers, and folds again to the same bytes."""
    file = mutated(rng, rng.choice(_archives()))
    if rng.random() < 0.1:
        file = spliced(rng, file, rng.choice(_archives()))

    def read_at(offset: int, length: int) -> bytes:
        return file[offset : offset + length]

    plain = io.BytesIO()
    found = unfold(read_at, len(file), plain.write)
    other, other_folds = unfolded(file)
    assert [(fold.raw, fold.plain) for fold in found or []] == other_folds, "the readers find other streams"
    assert found is None or plain.getvalue() == other
    return "folded" if _folds_again(read_at, file) else MADE


def _folds_again(read_at: ReadAt, file: bytes) -> bool:
    plain, again = io.BytesIO(), io.BytesIO()
    made = find_folds(read_at, len(file), plain.write, MIB)
    if made is None:
        return False
    folder = Folder(iter(made), again.write)
    folder.write(plain.getvalue())
    folder.finish()
    assert again.getvalue() == file, "a file comes out of its unfolded form otherwise"
    return True


def _tar(rng: random.Random) -> bytes:
    tar = rng.choice(_tars())
    if rng.random() < 0.2:
        return spliced(rng, tar, rng.choice(_tars()))
    for _ in range(rng.randrange(3)):
        tar = mutated(rng, tar)
    return tar


@cache
def _tars() -> list[bytes]:
    tars = [kind(build) for kind in kinds.KINDS for build in (1, 2) if kind is not kinds.long_trailing_bytes]
    return [*tars, *make.MODULES_1.layers, *make.MODULES_2.layers]


@cache
def _archives() -> list[bytes]:
    inner = make.packed({"one": make.text(60), "two": make.noise(300, 9)})
    nested = make.packed({"inner.zip": inner, "three": b"\0" * 900})
    member = gzip.compress(make.text(90), 6, mtime=0)
    named = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\0abcd" + b"name\0comment\0" + b"\0\0" + member[10:]
    return [inner, nested, member, member + named, a_layer({"a.zip": inner}) + member]
