"""Whatever stands in a layout's index, manifests and configs, the engine lists, names, removes and collects.

Nothing but a DependencyError or a RequestError comes out of it, an undamaged image that the index still leads to stays
whole, and no file outside the layout is touched.
"""

from __future__ import annotations

import copy
import json
import logging
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_module.engines.layout import LayoutEngine
from imagedelta.archives import sha256_id
from imagedelta.errors import DependencyError, RequestError
from tests.engines.place import make
from tests.images import an_image
from tests.simulators.files import FileSystemSimulator

APP = an_image({"base": b"1" * 900}, {"app": b"2" * 700})
OTHER = an_image({"other": b"5"})
INDEX = "images/index.json"


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@cache
def _a_disk() -> FileSystemSimulator:
    disk = FileSystemSimulator()
    disk.make_folders("inbox")
    disk.put("inbox/somebody-elses", b"x")
    disk.put("secret", b"x")
    engine = LayoutEngine(disk)
    make(engine, APP, "app:1")
    make(engine, OTHER, "other:1")
    return disk


DIGESTS = sorted(f"sha256:{name}" for name in _a_disk().list("images/blobs/sha256"))
ODD = ["sha256:" + "../" * 21 + "x", "sha256:" + "0" * 64, "sha512:1", "sha256:../../../../secret", "", "\0"]
digests = st.sampled_from(DIGESTS + ODD)
leaves = st.none() | st.booleans() | st.integers(-1, 2**70) | st.floats(allow_nan=False) | st.text(max_size=5) | digests
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
TYPES = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
]


def either(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, values)


names = st.sampled_from(["app:1", "app:2", "../x", "a" * 300, ""])
descriptors = st.fixed_dictionaries(
    {"digest": either(digests)},
    optional={
        "mediaType": either(st.sampled_from(TYPES)),
        "size": either(st.integers(0, 3000)),
        "annotations": either(st.dictionaries(st.just("org.opencontainers.image.ref.name"), either(names))),
        "platform": either(st.fixed_dictionaries({"os": st.just("linux"), "architecture": either(st.just("arm"))})),
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "manifests": either(st.lists(either(descriptors), max_size=4)),
        "config": either(descriptors),
        "layers": either(st.lists(either(descriptors), max_size=3)),
        "rootfs": either(st.fixed_dictionaries({"diff_ids": either(st.lists(either(digests), max_size=3))})),
    },
)


@given(index=documents, blobs=st.lists(documents, max_size=3), own_first=st.booleans())
def test_a_hostile_layout_breaks_nothing(index: dict[str, Any], blobs: list[dict[str, Any]], own_first: bool) -> None:
    disk = copy.deepcopy(_a_disk())
    for document in blobs:
        data = json.dumps(document).encode()
        digest = sha256_id(data)
        disk.put(f"images/blobs/sha256/{digest[7:]}", data)
        if isinstance(index.get("manifests"), list):
            index["manifests"].append({"digest": digest, "mediaType": TYPES[0], "size": len(data)})
    listed = json.loads(disk.files()[INDEX])["manifests"]
    entries = index.get("manifests")
    keeps = own_first and isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if keeps:
        index["manifests"] = [*listed, *entries]
    disk.put(INDEX, json.dumps(index).encode())

    with suppress(DependencyError):
        work_with(LayoutEngine(disk))

    assert disk.files()["secret"] == disk.files()["inbox/somebody-elses"] == b"x"
    if keeps:
        whole = {image.image_id for image in LayoutEngine(disk).images()}
        assert {APP.image_id, OTHER.image_id} <= whole


def work_with(engine: LayoutEngine) -> None:
    engine.clean()
    images = engine.images()
    for image in images:
        for reference in image.references:
            image.digest_of(reference)
    engine.drop_damaged({*APP.image.diff_ids, *(diff_id for image in images for diff_id in image.diff_ids)})
    engine.needs(APP.image_id, {}, [image.image_id for image in images])
    engine.collect()
    with suppress(RequestError):
        engine.name_image(OTHER.image_id, "app:1")
    third = an_image({"third": b"3"})
    make(engine, third, "third:1", [APP])
    engine.remove_image(third.image_id)
