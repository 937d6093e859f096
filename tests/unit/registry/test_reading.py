"""Registries that behave, and registries that do not: what is read, what is refused, who sees the login."""

from __future__ import annotations

import base64
import json
import random
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from imagedelta.errors import ContentError, DependencyError, DigestMismatch, LimitExceeded, RequestError
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta_cli.sources.registry_image import Access, open_registry_image
from imagedelta_registry.client import Registry
from imagedelta_registry.images import RegistryImages
from imagedelta_registry.login import NO_LOGIN, Login
from imagedelta_registry.manifests import for_machines
from imagedelta_registry.names import is_loopback, parse_registry_name
from tests.images import an_image, descriptor, gzipped, plain, zstd_packed
from tests.unit.registry.http_world import HttpWorld, send

IMAGE = an_image({"a": b"1" * 3000}, {"lib": random.Random(3).randbytes(300_000)})
SMALL_LIMITS = replace(DEFAULT_LIMITS, max_manifest_bytes=5_000, max_config_bytes=5_000, max_image_bytes=2_000_000)


@pytest.fixture
def world():
    world = HttpWorld()
    world.manifest = world.serve(IMAGE)
    yield world
    world.close()


@pytest.fixture
def read(world):
    """Read every layer of ``app:1``."""

    def call(suffix=":1", login=NO_LOGIN):
        name = parse_registry_name(f"registry://{world.address}/app{suffix}")
        access = Access(lambda host: login, is_loopback, pause=0)
        with open_registry_image(name, access, SMALL_LIMITS) as (source, image):
            return image, [read_layer(source, image, position) for position in range(len(image.diff_ids))]

    return call


def read_layer(source, image, position):
    with source.open_layer(image, position) as layer:
        return layer.read()


def test_an_image_is_read_and_named_as_docker_would(world, read):
    image, layers = read()

    assert (image.image_id, image.references, tuple(layers)) == (
        IMAGE.image_id,
        (f"{world.address}/app:1",),
        IMAGE.layers,
    )


def blob_path(world, position=1):
    return f"/v2/app/blobs/{world.manifest['layers'][position]['digest']}"


def test_a_cut_download_goes_on_where_it_was(world, read):
    data = world.routes[blob_path(world)][2]

    def cut_twice(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        end = min(start + 120_000, len(data))
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start:end])
        handler.close_connection = True

    world.routes[blob_path(world)] = cut_twice

    assert tuple(read()[1]) == IMAGE.layers
    ranges = [asked for path, _, asked in world.seen if path == blob_path(world)]
    assert (ranges[0], len(ranges)) == ("", 3)
    assert [int(asked[6:-1]) for asked in ranges[1:]] == sorted({int(asked[6:-1]) for asked in ranges[1:]})


def test_a_registry_that_cannot_resume_is_read_from_the_start_again(world, read):
    data = world.routes[blob_path(world)][2]

    def cut_once(handler):
        body = data if handler.headers.get("Range") else data[:100_000]
        send(handler, (200, {"Content-Length": str(len(data))}, body))
        handler.close_connection = True

    world.routes[blob_path(world)] = cut_once

    assert tuple(read()[1]) == IMAGE.layers


@pytest.mark.parametrize("position", [0, 1])
def test_a_layer_with_other_bytes_is_refused(world, read, position):
    status, headers, data = world.routes[blob_path(world, position)]
    world.routes[blob_path(world, position)] = (status, headers, bytes(len(data)))

    with pytest.raises(DigestMismatch):
        read()


def test_a_config_or_manifest_with_other_bytes_is_refused(world, read):
    digest = world.manifest["config"]["digest"]
    status, headers, data = world.routes[f"/v2/app/blobs/{digest}"]
    world.routes[f"/v2/app/blobs/{digest}"] = (status, headers, data.replace(b"amd64", b"arm64"))
    with pytest.raises(DigestMismatch):
        read()

    world.put_manifest(world.manifest, "sha256:" + "0" * 64)
    with pytest.raises(DigestMismatch):
        read("@sha256:" + "0" * 64)

    world.put_manifest(world.manifest, headers={"Docker-Content-Digest": "sha256:" + "1" * 64})
    with pytest.raises(DigestMismatch):
        read()


def test_a_layer_of_another_image_is_refused_by_its_diff_id(world, read):
    """All digests of the manifest hold, and yet it is not the layer that the config names."""
    other = an_image({"evil": b"x" * 3000}, {"lib": b"y"})
    stranger = HttpWorld()
    try:
        theirs = stranger.serve(other)
        world.routes.update({path: route for path, route in stranger.routes.items() if "blobs" in path})
    finally:
        stranger.close()
    world.put_manifest({**world.manifest, "layers": theirs["layers"]})

    with pytest.raises(DigestMismatch, match="has the bytes of"):
        read()


@pytest.mark.parametrize("path", ["manifest", "config", "layer"])
def test_a_body_without_end_is_left_at_its_limit(world, read, path):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while len(sent) < 5000:
                handler.wfile.write(b"x" * 65_536)
                sent.append(1)
        except OSError:
            return

    target = {
        "manifest": "/v2/app/manifests/1",
        "config": f"/v2/app/blobs/{world.manifest['config']['digest']}",
        "layer": blob_path(world),
    }[path]
    world.routes[target] = endless

    with pytest.raises(LimitExceeded):
        read()
    assert len(sent) < 500


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [{"digest": "sha256:" + "0" * 64, "size": 10**15}]},
        {
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + "0" * 64,
                "size": 10**9,
            }
        },
        {"layers": [{"digest": "sha256:" + "0" * 64, "size": 1}] * 128},
    ],
)
def test_what_a_manifest_announces_is_bounded_before_anything_is_fetched(world, read, change):
    world.put_manifest({**world.manifest, **change})
    limit_reached = (LimitExceeded,)

    with pytest.raises(limit_reached):
        read()
    assert not any("blobs" in path for path, _, _ in world.seen)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"schemaVersion": 1, "fsLayers": []},
        {"manifests": [], "layers": []},
        {
            "config": {
                "mediaType": "application/vnd.cncf.helm.config.v1+json",
                "digest": "sha256:" + "0" * 64,
                "size": 2,
            }
        },
        {"config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:../../x", "size": 2}},
        {
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + "0" * 64,
                "size": -2,
            }
        },
        {
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + "0" * 64,
                "size": True,
            }
        },
        {"config": "x", "layers": 3},
    ],
)
def test_a_malformed_manifest_is_a_content_error(world, read, document):
    world.put_manifest(document)

    with pytest.raises(ContentError):
        read()


def test_image_indexes_nested_without_end_are_refused(world, read):
    data = b"{}"
    for _ in range(6):
        entry = descriptor("application/vnd.oci.image.index.v1+json", data)
        world.routes[f"/v2/app/manifests/{entry['digest']}"] = (200, {}, data)
        data = json.dumps({"manifests": [entry]}).encode()
    world.routes["/v2/app/manifests/1"] = (200, {}, data)

    with pytest.raises(LimitExceeded, match="nested"):
        read()


def test_a_redirect_loop_ends(world, read):
    world.routes["/v2/app/manifests/1"] = (307, {"Location": "/v2/app/manifests/1"}, b"")

    with pytest.raises(RequestError, match="again and again"):
        read()
    assert len(world.seen) < 10


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", ""])
def test_a_redirect_to_no_web_address_is_not_followed(world, read, location):
    world.routes["/v2/app/manifests/1"] = (307, {"Location": location}, b"")

    with pytest.raises(RequestError):
        read()


def test_a_busy_registry_is_asked_again_and_one_that_stays_so_ends_as_unavailable(world, read):
    answers = iter([(503, {}, b""), (429, {"Retry-After": "0"}, b"")])
    good = world.routes["/v2/app/manifests/1"]
    world.routes["/v2/app/manifests/1"] = lambda handler: next(answers, good)
    assert read()[0].image_id == IMAGE.image_id

    world.routes["/v2/app/manifests/1"] = (503, {}, b"")
    with pytest.raises(DependencyError):
        read()


@pytest.mark.parametrize(
    ("status", "code"), [(404, "request.no_image"), (403, "registry.denied"), (418, "registry.protocol")]
)
def test_a_refusal_is_told_by_its_code_and_not_tried_again(world, read, status, code):
    world.routes["/v2/app/manifests/1"] = (status, {}, b"")

    with pytest.raises(RequestError) as refusal:
        read()
    assert (refusal.value.code, len(world.seen)) == (code, 1)


@contextmanager
def a_second_world():
    other = HttpWorld()
    try:
        yield other
    finally:
        other.close()


def wants(world, challenge, accepted):
    """Make every document of ``world`` ask for ``accepted`` first."""
    for path, answer in list(world.routes.items()):

        def route(handler, answer=answer):
            if handler.headers.get("Authorization") == accepted:
                return answer
            return 401, {"WWW-Authenticate": challenge}, b""

        world.routes[path] = route


ANN = Login("ann", "a:password")
BASIC = "Basic " + base64.b64encode(b"ann:a:password").decode()


def test_basic_is_answered_with_the_login(world, read):
    wants(world, 'Basic realm="r"', BASIC)

    assert read(login=ANN)[0].image_id == IMAGE.image_id
    with pytest.raises(RequestError) as refusal:
        read()
    assert refusal.value.code == "registry.denied"


def test_one_token_is_fetched_with_the_login_and_used_for_everything(world, read):
    wants(world, f'Bearer realm="http://{world.address}/token",service="s",scope="repository:app:pull"', "Bearer t0k")
    world.routes["/token"] = (200, {}, b'{"token": "t0k"}')

    assert read(login=ANN)[0].image_id == IMAGE.image_id
    tokens = [(path, shown) for path, shown, _ in world.seen if path.startswith("/token")]
    assert tokens == [("/token?service=s&scope=repository%3Aapp%3Apull", BASIC)]


def test_an_identity_token_is_posted_never_put_into_an_address(world, read):
    wants(world, f'Bearer realm="http://{world.address}/token",service="s"', "Bearer t0k")
    world.routes["/token"] = (200, {}, b'{"access_token": "t0k"}')

    assert read(login=Login(identity_token="secret"))[0].image_id == IMAGE.image_id
    assert not any("secret" in path for path, _, _ in world.seen)


@pytest.mark.parametrize("realm", ["http://registry.example.org/token", "ftp://127.0.0.1/", "", "http://["])
def test_the_login_is_not_sent_to_a_token_server_without_tls(world, read, realm):
    wants(world, f'Bearer realm="{realm}",service="s"', "Bearer t0k")

    with pytest.raises(RequestError) as refusal:
        read(login=ANN)
    assert refusal.value.code == "registry.protocol"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token": 3}', b'{"token": "a\\r\\nHost: evil"}', b"x" * (2 << 20)]
)
def test_a_token_server_that_gives_no_token_is_refused(world, read, body):
    wants(world, f'Bearer realm="http://{world.address}/token"', "Bearer t0k")
    world.routes["/token"] = (200, {}, body)

    with pytest.raises((RequestError, ContentError)):
        read(login=ANN)


def test_a_blob_that_lies_elsewhere_is_fetched_without_the_login(world, read):
    """Registries redirect to their storage; the storage must not see the registry's login."""
    with a_second_world() as storage:
        storage.routes["/blob"] = world.routes[blob_path(world)]
        world.routes[blob_path(world)] = (307, {"Location": f"http://{storage.address}/blob"}, b"")
        wants(world, 'Basic realm="r"', BASIC)

        assert tuple(read(login=ANN)[1]) == IMAGE.layers
        assert [shown for _, shown, _ in storage.seen] == [""]


def test_a_wrong_login_is_refused_without_asking_for_ever(world, read):
    wants(world, 'Basic realm="r"', "never")

    with pytest.raises(RequestError) as refusal:
        read(login=ANN)
    assert (refusal.value.code, len(world.seen)) == ("registry.denied", 2)


def test_a_plain_layer_is_read_too(world, read):
    world.manifest = world.serve(IMAGE, pack=plain)

    assert tuple(read()[1]) == IMAGE.layers


def without_ranges(world, answer):
    """The first try is cut; a request with a Range gets ``answer``, one without it everything."""
    data, cuts = world.routes[blob_path(world)][2], iter([100_000])

    def route(handler):
        if handler.headers.get("Range"):
            return answer(handler, data)
        send(handler, (200, {"Content-Length": str(len(data))}, data[: next(cuts, len(data))]))
        handler.close_connection = True
        return None

    world.routes[blob_path(world)] = route


def no_range(handler, data):
    return 416, {"Content-Range": f"bytes */{len(data)}"}, b""


def not_implemented(handler, data):
    return 501, {}, b"no ranges here"


def another_range(handler, data):
    return 206, {"Content-Range": f"bytes 7-{len(data) - 1}/{len(data)}"}, data[7:]


def a_range_without_its_place(handler, data):
    return 206, {}, data[100_000:]


@pytest.mark.parametrize("answer", [no_range, not_implemented, another_range, a_range_without_its_place])
def test_a_registry_that_takes_no_range_is_read_anew_and_what_is_here_is_passed_over(world, read, answer):
    """zot answers 416, GitHub's 501."""
    without_ranges(world, answer)

    assert tuple(read()[1]) == IMAGE.layers
    assert [bool(asked) for path, _, asked in world.seen if path == blob_path(world)] == [False, True, False]


def test_a_resumed_blob_that_changed_meanwhile_is_refused(world, read):
    data, first = world.routes[blob_path(world)][2], iter([100_000])

    def route(handler):
        if end := next(first, None):
            send(handler, (200, {"Content-Length": str(len(data))}, data[:end]))
            handler.close_connection = True
            return None
        start = int(handler.headers["Range"][6:-1])
        rest = bytes(len(data) - start)
        return 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, rest

    world.routes[blob_path(world)] = route

    with pytest.raises(ContentError):
        read()


def a_layer_of(world, data):
    """Replace the second layer's stored bytes; their digest is right."""
    entry = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", data)
    world.routes[f"/v2/app/blobs/{entry['digest']}"] = (200, {}, data)
    world.put_manifest({**world.manifest, "layers": [world.manifest["layers"][0], entry]})


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
def test_a_layer_that_unpacks_without_end_is_left_at_the_limit(world, read, pack):
    a_layer_of(world, pack(bytes(64 << 20)))

    with pytest.raises(LimitExceeded, match="unpacks to more than"):
        read()


@pytest.mark.parametrize("pack", [gzipped, zstd_packed])
@pytest.mark.parametrize("harm", [lambda data: data[:-9], lambda data: data[:5000] + b"\0" * 50 + data[5050:]])
def test_a_layer_whose_packing_is_damaged_is_refused(world, read, pack, harm):
    a_layer_of(world, harm(pack(IMAGE.layers[1])))

    with pytest.raises(ContentError):
        read()


def test_zeros_behind_a_packed_layer_do_no_harm_and_anything_else_is_refused(world, read):
    a_layer_of(world, gzipped(IMAGE.layers[1]) + bytes(100_000))
    assert tuple(read()[1]) == IMAGE.layers

    a_layer_of(world, gzipped(IMAGE.layers[1]) + b"no stream at all")
    with pytest.raises(ContentError):
        read()


def test_a_registry_that_asks_to_be_left_alone_for_long_is_left_alone(world, read):
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for asked in ("3600", later):
        world.routes["/v2/app/manifests/1"] = (429, {"Retry-After": asked}, b"")
        world.seen.clear()

        with pytest.raises(DependencyError) as refusal:
            read()

        assert len(world.seen) == 1
        assert timedelta(minutes=59) < refusal.value.retry_after <= timedelta(hours=1)


def test_an_index_that_names_indexes_costs_a_bounded_number_of_requests(world):
    """Fifty times fifty, and nobody says what they are for."""
    manifest = world.routes["/v2/app/manifests/1"][2]
    data, kind = manifest, "application/vnd.oci.image.manifest.v1+json"
    for _ in range(2):
        entry = descriptor(kind, data)
        world.routes[f"/v2/app/manifests/{entry['digest']}"] = (200, {}, data)
        data, kind = json.dumps({"manifests": [entry] * 50}).encode(), "application/vnd.oci.image.index.v1+json"
    world.routes["/v2/app/manifests/1"] = (200, {}, data)

    name = parse_registry_name(f"registry://{world.address}/app:1")
    with Registry(world.address, lambda: NO_LOGIN) as registry, pytest.raises(LimitExceeded, match="name more than"):
        RegistryImages(registry, name, for_machines([]))
    assert len(world.seen) < 500
