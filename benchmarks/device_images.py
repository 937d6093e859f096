"""An image and its update, of which one small layer is new; and the bundle that brings it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from tests.images import BuiltImage, a_layer, an_image
from tests.unit.delta.patches import a_patch
from tests.unit.edge.world import MadeBundle, make_bundle

OLD, NEW = "bench/app:1", "bench/app:2"
_MB = 1_000_000
_APP_FILES, _CHANGED_FILES, _APP_FILE_BYTES = 1000, 10, 20_000


@dataclass(frozen=True)
class Update:
    old: BuiltImage
    new: BuiltImage
    bundle: MadeBundle


def make_update(megabytes: int, scratch: Path) -> Update:
    """A base of files of 1 MB, below it an app of 1,000 files in 20 MB, ten of which change in the middle."""
    chance = random.Random(1)  # noqa: S311 -- data, no secrets
    app_bytes = _APP_FILES * _APP_FILE_BYTES
    base = a_layer({f"usr/lib/{n}": _text(chance, _MB) for n in range(megabytes - app_bytes // _MB)})
    files = {f"app/{n}.js": _text(chance, _APP_FILE_BYTES) for n in range(_APP_FILES)}
    changed = {
        name: files[name][:9_000] + _text(chance, 500) + files[name][9_000:] for name in list(files)[:_CHANGED_FILES]
    }
    old, new = an_image(base, files, references=(OLD,)), an_image(base, {**files, **changed}, references=(NEW,))
    patch, summary = a_patch(new, old, scratch=scratch)
    bundle = make_bundle(
        patch=patch,
        target_image_id=new.image_id,
        source_image_ids=(old.image_id,),
        reference=NEW,
        memory_bytes=summary.memory_bytes,
        full_bytes=sum(map(len, new.layers)),
    )
    return Update(old, new, bundle)


def _text(chance: random.Random, size: int) -> bytes:
    """Digits by chance, which gzip halves, as it does with what images are made of."""
    return chance.randbytes(size // 2).hex().encode()
