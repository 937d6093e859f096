"""The engine ``registry`` on a real registry: what all engines do alike, and what only a registry has."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from edge_module.engines import EngineDamaged, LayersGone
from edge_module.engines.registry import RegistryEngine
from edge_module.engines.registry_client import Manifest, RegistryClient
from edge_module.engines.registry_upload import put_blob
from imagedelta.archives import sha256_id
from imagedelta.archives.oci import INDEX_TYPE, MANIFEST_TYPE
from tests.e2e.device.registry_place import RegistryPlace, image_manifest, put_image
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.engines.place import listed, make, pulled, sizes_of, write_layers
from tests.engines.suite import APP_1, OTHER, EngineSuite
from tests.images import BuiltImage, Pack, an_image, descriptor, gzipped, plain

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(registry: RegistryProcess, tmp_path: Path) -> Iterator[RegistryPlace]:
    """The registry, emptied: it keeps nothing in memory."""
    shutil.rmtree(registry.storage / "docker", ignore_errors=True)
    place = RegistryPlace(registry, tmp_path / "module")
    yield place
    place.close()


class TestRegistryEngine(EngineSuite):
    MANY = 25


# What only a registry has.


def an_index(client: RegistryClient, repository: str, tag: str, *images: BuiltImage) -> None:
    """As another tool pushes an image for several platforms: only the index has a tag."""
    entries = []
    for image in images:
        manifest = put_image(client, repository, "", image)
        platform = dict(zip(("os", "architecture"), image.image.platform.split("/"), strict=True))
        entries.append(descriptor(MANIFEST_TYPE, manifest.data, platform=platform))
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    client.put_manifest(repository, tag, Manifest(sha256_id(data), INDEX_TYPE, data))


AMD = an_image({"a": b"amd"}, references=("multi:1",))
ARM = an_image({"a": b"arm"}, platform="linux/arm64", references=("multi:1",))


def test_an_index_of_several_platforms_gives_each_image_and_loses_none_by_a_removal(place: RegistryPlace) -> None:
    engine = place.engine()
    an_index(place.client(), "multi", "1", AMD, ARM)
    assert listed(engine) == {AMD.image_id: ("multi:1",), ARM.image_id: ("multi:1",)}

    engine.remove_image(ARM.image_id)

    assert listed(place.engine()) == {AMD.image_id: ()}


def test_an_image_whose_name_another_tool_gave_stays_when_the_name_moves(place: RegistryPlace) -> None:
    engine = place.engine()
    an_index(place.client(), "app", "1", AMD, ARM)

    make(engine, APP_1, "app:1")

    assert listed(place.engine()) == {AMD.image_id: (), ARM.image_id: (), APP_1.image_id: ("app:1",)}


def test_signatures_attestations_and_charts_are_no_images(place: RegistryPlace) -> None:
    client = place.client()
    put_image(client, "app", "1", APP_1)
    put_blob(client, "app", sha256_id(b"{}"), b"{}")
    config = descriptor("application/vnd.cncf.helm.config.v1+json", b"{}")
    data = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}).encode()
    client.put_manifest("app", "chart", Manifest(sha256_id(data), MANIFEST_TYPE, data))

    assert listed(place.engine()) == {APP_1.image_id: ("app:1",)}


def test_listing_again_reads_no_manifest_and_no_config(place: RegistryPlace) -> None:
    engine = place.engine()
    for number in range(10):
        make(engine, an_image({"n": b"%d" % number}), f"app{number}:1")
    engine.images()
    before = place.cost()

    engine.images()

    catalog, tags, digests, blobs = 1, 10, 20, 20
    assert place.cost() - before == catalog + tags + digests + blobs


def test_a_registry_that_was_wiped_is_another_installation(place: RegistryPlace) -> None:
    engine = place.engine()
    first = engine.installation_id()

    shutil.rmtree(place.registry.storage / "docker")

    second = engine.installation_id()
    assert second != first
    assert place.engine().installation_id() == second


def test_thousands_of_small_reads_are_few_requests(place: RegistryPlace) -> None:
    tar = random.Random(1).randbytes(24 << 20)
    image = an_image(tar, references=("large:1",))
    place.put(image)
    engine = place.engine()

    with engine.begin(APP_1.image_id, "app:1", {}, [image.image_id]) as work:
        layer = work.find(image.image.diff_ids[0])
        before = place.cost()
        for at in range(0, len(tar) - 512, 8192):  # the headers of a tar, front to back
            assert layer.read_at(at, 512) == tar[at : at + 512]
        walked = place.cost() - before
        for at in range(5 << 20, 9 << 20, 65536):  # a file
            assert layer.read_at(at, 65536) == tar[at : at + 65536]
        copied = place.cost() - before - walked

    assert walked <= 24 + 6
    assert copied <= 4 + 6


def test_what_an_interrupted_session_has_sent_is_no_need_any_more(place: RegistryPlace) -> None:
    def needed() -> int:
        return sum(need.bytes for need in place.engine().needs(APP_1.image_id, sizes_of(APP_1), ()))

    before = needed()
    with suppress(ZeroDivisionError), place.engine().begin(APP_1.image_id, "app:1", sizes_of(APP_1), ()) as work:
        write_layers(work, APP_1, (0,))
        raise ZeroDivisionError
    with place.engine().begin(APP_1.image_id, "", {}, ()):
        pass  # as a rebuild does, to learn what layers there are

    assert needed() == before - len(APP_1.layers[0])


def test_a_patch_that_errs_about_a_size_makes_no_good_layer_forgotten(place: RegistryPlace) -> None:
    engine = RegistryEngine(place.client(), place.files)  # nobody holds its wishes against the bytes
    make(engine, APP_1, "app:1")
    base = APP_1.image.diff_ids[0]

    for size in (0, 1, len(APP_1.layers[0]) - 1, len(APP_1.layers[0]) + 1):
        with engine.begin(OTHER.image_id, "app:9", {base: size}, ()) as work:
            assert not work.has(base)

    assert listed(engine) == {APP_1.image_id: ("app:1",)}


def test_an_image_that_claims_a_layer_it_has_not_goes_and_the_blob_stays_with_its_owner(place: RegistryPlace) -> None:
    engine = place.engine()
    place.put(APP_1, gzipped)
    liar = an_image(*APP_1.layers[:1], {"other": b"bytes"})
    packed = [gzipped(layer) for layer in APP_1.layers]
    put_blob(place.client(), "app", liar.image_id, liar.image.config)
    place.client().put_manifest("app", "liar", image_manifest(liar, packed))
    assert listed(engine) == {APP_1.image_id: ("app:1",), liar.image_id: ("app:liar",)}

    assert engine.drop_damaged(liar.image.diff_ids) == (liar.image.diff_ids[1],)

    assert listed(engine) == {APP_1.image_id: ("app:1",)}


@pytest.mark.parametrize("pack", [plain, gzipped])
def test_a_registry_that_ignores_ranges_is_read_once_into_scratch(place: RegistryPlace, pack: Pack) -> None:
    place.put(APP_1, pack)
    with without_ranges(place.registry) as url:
        engine = place.engine(url)
        before = place.cost()
        with engine.begin(OTHER.image_id, "other:1", {}, [APP_1.image_id]) as work:
            for diff_id, tar in zip(APP_1.image.diff_ids, APP_1.layers, strict=True):
                layer = work.find(diff_id)
                for at in range(0, len(tar) - 512, 512):
                    assert layer.read_at(at, 512) == tar[at : at + 512]
        assert place.cost() - before < 25

    assert place.leftovers() == []


@contextmanager
def without_ranges(registry: RegistryProcess) -> Iterator[str]:
    """The address of a server that asks the registry in our place, and for whole blobs only."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {"Accept": self.headers.get("Accept", "*/*")}
            answer = httpx.request(self.command, registry.url + self.path, headers=headers, trust_env=False)
            self.send_response(answer.status_code)
            for name in ("content-type", "docker-content-digest", "content-length"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        do_HEAD = do_GET  # noqa: N815 -- as above

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_dockerd_pulls_what_was_made_and_it_has_the_image_id(place: RegistryPlace, daemon: DockerDaemon) -> None:
    layers = ({"bin/run": random.Random(1).randbytes(300_000)}, {"etc/settings": b"1"}, {"etc/settings": b"2"})
    base, image = an_image(*layers[:2]), an_image(*layers)
    put_image(place.client(), "team/base", "1", base, gzipped)
    name = "fleet.example/team/puller:2"
    present = make(place.engine(), image, name, sources=[base])
    local = f"{place.registry.address}/team/puller"

    daemon.docker("pull", "--quiet", f"{local}@{present.digest_of(name)}")
    daemon.docker("pull", "--quiet", f"{local}:2")

    assert daemon.docker("image", "inspect", "--format", "{{.Id}}", f"{local}:2").strip() == image.image_id
    daemon.docker("image", "rm", "--force", image.image_id)


# What a power loss leaves in the registry's own records, and how the device goes on without anybody's help.


@pytest.mark.parametrize("emptied", ["tag", "revision", "layer link", "manifest", "config", "layer"])
def test_a_record_of_the_registry_that_is_empty_hides_one_image_which_can_be_made_again(
    place: RegistryPlace, emptied: str
) -> None:
    engine = place.engine()
    present = make(engine, APP_1, "app:1")
    make(engine, OTHER, "other:1")
    digest, app, layer = str(present.digest_of("app:1")), place.registry.repository("app"), APP_1.image.diff_ids[1]
    files = {
        "tag": [app / "_manifests/tags/1/current/link", *app.glob("_manifests/tags/imagedelta-*/current/link")],
        "revision": [app / "_manifests/revisions/sha256" / digest[7:] / "link"],
        "layer link": [app / "_layers/sha256" / layer[7:] / "link"],
        "manifest": [place.registry.blob_file(digest)],
        "config": [place.registry.blob_file(APP_1.image_id)],
        "layer": [place.registry.blob_file(layer)],
    }
    for file in files[emptied]:
        file.write_bytes(b"")

    assert listed(place.engine()) == {OTHER.image_id: ("other:1",)}

    for _ in range(3):  # what is damaged may have to be removed first
        with suppress(EngineDamaged, LayersGone):
            present = make(place.engine(), APP_1, "app:1")
            break
    assert listed(place.engine()) == {APP_1.image_id: ("app:1",), OTHER.image_id: ("other:1",)}
    assert place.pull("app:1", present.digest_of("app:1")) == pulled(APP_1)
