"""What the module makes of a daemon with containerd's store, and of daemons that answer oddly."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module.engines.docker import DockerEngine
from edge_module.engines.docker_daemon import Daemon, DaemonSays, Patience, negotiated
from edge_module.files import DiskFiles
from imagedelta.errors import DependencyError, SourceMissing
from tests.engines.place import listed, make, sizes_of
from tests.engines.suite import APP_1, APP_2, OTHER
from tests.images import an_archive, an_image, docker_save, gzipped, oci_files, plain, zstd_packed
from tests.simulators.docker_daemon import ContainerdStoreSimulator, endless, silence, trickle

QUICK = Patience(ask=0.5, silence=0.5, work=1.0)


@pytest.fixture
def store(tmp_path: Path) -> ContainerdStoreSimulator:
    return ContainerdStoreSimulator(tmp_path / "docker.sock")


@pytest.fixture
def address(store: ContainerdStoreSimulator) -> Iterator[str]:
    with store.running() as address:
        yield address


@pytest.fixture
def engine(address: str, tmp_path: Path) -> DockerEngine:
    return an_engine(address, tmp_path)


def an_engine(address: str, tmp_path: Path) -> DockerEngine:
    return DockerEngine(DiskFiles(tmp_path / "module"), Daemon(address, QUICK), flush=lambda: None)


# API versions.


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [("1.41", "1.12", "1.41"), ("1.43", "1.24", "1.43"), ("1.52", "1.44", "1.45"), ("1.60", "1.48", "1.48")],
)
def test_the_newest_version_that_both_know_is_spoken(newest: str, oldest: str, spoken: str) -> None:
    assert negotiated(newest, oldest) == spoken


@pytest.mark.parametrize(("newest", "oldest"), [("1.40", "1.12"), ("1.24", "1.12")])
def test_a_daemon_that_is_too_old_is_told(newest: str, oldest: str) -> None:
    with pytest.raises(DependencyError, match="speaks API"):
        negotiated(newest, oldest)


def test_a_daemon_that_was_replaced_by_a_newer_one_is_spoken_to_in_its_language(store, address) -> None:
    store.versions = ("1.41", "1.12")
    daemon = Daemon(address, QUICK)
    daemon.facts()

    store.versions = ("1.60", "1.50")
    store.instead = {"GET /info": lambda handler: handler.say({"message": "client version 1.41 is too old"}, 400)}
    with pytest.raises(DependencyError):
        daemon.facts()
    store.instead = {}
    daemon.facts()

    assert store.log[-1] == "GET /v1.50/info"


# containerd's store.


@pytest.mark.parametrize("pack", [gzipped, zstd_packed, plain])
def test_images_are_known_by_their_configs_not_by_the_daemons_ids(store, engine, pack) -> None:
    store.pack = pack
    own_id = store.put(APP_1, "app:1")

    assert own_id != APP_1.image_id
    assert listed(engine) == {APP_1.image_id: ("app:1",)}


def test_an_archive_is_read_once_to_know_an_image(store, address, tmp_path) -> None:
    store.put(APP_1, "app:1")
    an_engine(address, tmp_path).images()

    an_engine(address, tmp_path).images()

    assert sum(line.endswith("/get") for line in store.log) == 1


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
def test_an_image_is_made_from_packed_sources_and_sent_whole(store, engine, pack) -> None:
    """Such a daemon keeps an image whose layers are missing, so every layer is sent."""
    store.pack = pack
    store.put(APP_1, "app:1")

    with engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work:
        first, *others = APP_2.image.diff_ids
        layer = work.find(APP_1.image.diff_ids[1])
        assert layer.read_at(600, 50) == APP_1.layers[1][600:650]
        assert work.has(first)
        for diff_id, tar in zip(others, APP_2.layers[1:], strict=True):
            assert not work.has(diff_id)
            work.begin(diff_id, len(tar)).write(tar)
            work.commit(diff_id)
        work.finish(APP_2.image.config)

    assert listed(engine) == {APP_1.image_id: ("app:1",), APP_2.image_id: ()}
    assert [image.layers for image in store.images.values()] == [APP_1.layers, APP_2.layers]


def test_the_need_knows_that_each_layer_is_kept_twice(store, engine) -> None:
    (_, engine_need) = engine.needs(APP_2.image_id, sizes_of(APP_2), ())

    assert engine_need.bytes == 2 * sum(map(len, APP_2.layers))
    assert engine_need.free is None


def test_the_same_layers_under_two_configs_are_told_apart_by_the_list(store, engine) -> None:
    twin = an_image(*APP_1.layers, note="for another platform")
    store.put(APP_1, "app:1")
    files = oci_files(APP_1, pack=gzipped)
    entry = {"Config": f"blobs/sha256/{APP_1.image_id[7:]}", "RepoTags": None, "Layers": []}
    both = {
        f"blobs/sha256/{twin.image_id[7:]}": twin.image.config,
        **files,
        "manifest.json": json.dumps([entry]).encode(),
    }
    store.instead = {"GET /images/.*/get": lambda handler: handler.send_all(an_archive(both))}

    assert listed(engine) == {APP_1.image_id: ("app:1",)}


def test_an_image_that_does_not_unpack_is_a_fault_although_the_daemon_calls_it_loaded(store, engine) -> None:
    words = "Error unpacking image imagedelta/kept:1: failed to extract layer: no space left on device"
    store.instead = {"POST /images/load": lambda handler: (handler.body(), handler.say({"stream": words}))}

    with pytest.raises(DependencyError) as raised:
        make(engine, APP_1)

    assert raised.value.code == "disk.full"
    assert listed(engine) == {}


# Odd answers. Each makes the job wait; none is taken for a fault of a bundle, none lasts.

ODD = {
    "hangs": silence(3),
    "trickles": trickle,
    "says-500": lambda handler: handler.say({"message": "layer does not exist"}, 500),
    "says-nonsense": lambda handler: handler.send_all(b"<html>Welcome aboard</html>"),
    "is-empty": lambda handler: handler.send_all(b""),
    "ends-early": lambda handler: handler.send_all(b'[{"Id": "sha', promise=500),
    "is-deep": lambda handler: handler.send_all(b"[" * 100_000),
    "is-endless": endless,
    "tells-an-error": lambda handler: handler.say({"errorDetail": {"message": "boom"}, "error": "boom"}),
}
ASKED = [
    "GET /version",
    "GET /info",
    "GET /images/json",
    "GET /images/[^/]+/json",
    "GET /images/.*/get",
    "POST /images/load",
]


@pytest.mark.parametrize("question", ASKED)
@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_makes_the_job_wait_and_the_next_try_succeeds(
    store, address, engine, tmp_path, question: str, answer: str
) -> None:
    store.put(OTHER, "other:1")
    store.instead = {question: ODD[answer]}
    began = time.monotonic()

    try:
        present = make(engine, APP_1, sources=[OTHER])
    except DependencyError:
        pass
    else:  # what was asked is not needed, or nothing came of it
        assert present.image_id == APP_1.image_id
    assert time.monotonic() - began < 12

    store.instead = {}
    later = an_engine(address, tmp_path)
    later.clean()
    make(later, APP_1, "app:1")
    assert listed(later)[APP_1.image_id] == ("app:1",)


def saved_with(change) -> bytes:
    data = bytearray(docker_save(APP_1))
    change(data)
    return bytes(data)


def flip(data: bytearray) -> None:
    at = bytes(data).find(APP_1.layers[1]) + 5000
    data[at] ^= 1


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def complain(data: bytearray) -> None:
    at = bytes(data).find(APP_1.layers[1]) - 512
    data[at:] = b'{"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"}\r\n'


@pytest.mark.parametrize("change", [flip, cut, complain])
def test_a_layer_out_of_a_wrong_archive_is_never_used(store, engine, change) -> None:
    """The archive of the classic store, since its members have no digest in their names."""
    store.put(APP_1, "app:1")
    engine.images()
    store.instead = {"GET /images/.*/get": lambda handler: handler.send_all(saved_with(change))}

    with (
        pytest.raises((SourceMissing, DependencyError)),
        engine.begin(APP_2.image_id, "app:2", sizes_of(APP_2), [APP_1.image_id]) as work,
    ):
        work.find(APP_1.image.diff_ids[1]).read_at(5000, 100)


def test_an_image_that_the_daemon_fails_at_twice_is_left_out_and_the_others_stay(store, engine) -> None:
    store.put(APP_1, "app:1")
    store.put(OTHER, "other:1")
    engine.images()
    store.used = set(store.images)
    store.instead = {f"GET /images/{store.find('app:1')}/get": ODD["says-500"]}

    assert set(engine.drop_damaged(APP_1.image.diff_ids)) == set(APP_1.image.diff_ids)

    assert listed(engine) == {OTHER.image_id: ("other:1",)}
    assert store.find("app:1")  # a container is made of it
    store.instead = {}
    engine.clean()  # at the next start it is tried once more
    assert set(listed(engine)) == {APP_1.image_id, OTHER.image_id}


def test_a_damaged_image_that_nobody_uses_is_removed_so_that_it_can_be_made_anew(store, engine) -> None:
    store.put(APP_1, "app:1")
    engine.images()
    store.instead = {"GET /images/.*/get": ODD["says-500"]}

    engine.drop_damaged(APP_1.image.diff_ids)
    store.instead = {}

    assert store.find("app:1") is None
    assert make(engine, APP_1, "app:1").references == ("app:1",)


def test_a_full_disk_of_the_daemon_damages_nothing(store, engine) -> None:
    store.put(APP_1, "app:1")
    engine.images()
    store.instead = {
        "GET /images/.*/get": lambda handler: handler.say({"message": "write /x: no space left on device"}, 500)
    }

    with pytest.raises(DaemonSays) as raised:
        engine.drop_damaged(APP_1.image.diff_ids)

    assert raised.value.code == "disk.full"
    assert listed(engine) == {APP_1.image_id: ("app:1",)}


def test_another_image_than_the_one_that_was_sent_is_not_believed(store, engine) -> None:
    """An edited config loads without a word, as another image."""

    def load(handler) -> None:
        handler.body()
        store.put(OTHER, f"imagedelta/kept:{APP_1.image_id[7:39]}")
        handler.say({"stream": "Loaded image"})

    store.instead = {"POST /images/load": load}

    with pytest.raises(DependencyError, match="loaded") as raised:
        make(engine, APP_1)

    assert raised.value.code == "engine.damaged"


@pytest.mark.parametrize("known", [b"", b"{", b"[]", b'{"a": 1}', b"\0" * 100, b"[" * 100_000, None])
def test_damaged_records_of_the_module_cost_one_more_pass(store, address, tmp_path, known) -> None:
    store.put(APP_1, "app:1")
    an_engine(address, tmp_path).images()
    path = tmp_path / "module/docker/known.json"
    path.unlink() if known is None else path.write_bytes(known)
    (tmp_path / "module/docker/configs" / APP_1.image_id[7:]).write_bytes(b"other bytes")

    engine = an_engine(address, tmp_path)

    assert listed(engine) == {APP_1.image_id: ("app:1",)}
    with engine.begin(APP_2.image_id, "app:2", {}, [APP_1.image_id]) as work:
        assert work.config(APP_1.image_id) == APP_1.image.config
