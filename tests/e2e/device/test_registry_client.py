"""The client of the local registry against a real one, and against whatever else may answer in its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest

from edge_module.engines.registry_client import BlobsUnknown, Login, RegistryClient
from edge_module.engines.registry_upload import PIECE_BYTES, LayerUpload, put_blob
from imagedelta.archives import sha256_id
from imagedelta.errors import DependencyError
from tests.e2e.device.registry_place import image_manifest
from tests.e2e.parts.registry_process import CONFIG, RegistryProcess
from tests.images import an_image

pytestmark = pytest.mark.e2e
_names = count()


@pytest.fixture
def client(registry: RegistryProcess) -> Iterator[RegistryClient]:
    client = RegistryClient(registry.url, pause=0.1)
    yield client
    client.close()


@pytest.fixture
def repository() -> str:
    return f"client/of-{next(_names)}"


def test_a_layer_sent_in_pieces_is_a_blob_and_reads_back_whole_and_in_parts(
    client: RegistryClient, repository: str
) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256 * 2 + 77)
    upload = LayerUpload(client, repository)
    for at in range(0, len(data), 65536):
        upload.write(data[at : at + 65536])
    upload.finish(sha256_id(data))

    assert client.blob_size(repository, sha256_id(data)) == len(data)
    assert client.read_range(repository, sha256_id(data), 5, 3) == data[5:8]
    assert client.read_range(repository, sha256_id(data), len(data) - 3, 3) == data[-3:]
    assert client.read_range(repository, sha256_id(data), len(data) - 3, 4) is None
    with client.open_blob(repository, sha256_id(data), len(data)) as pieces:
        assert pieces is not None
        assert b"".join(pieces) == data


def test_lists_longer_than_a_page_are_whole(registry: RegistryProcess, client: RegistryClient) -> None:
    image = an_image({"a": b"1"})
    put_blob(client, "paged", image.image_id, image.image.config)
    put_blob(client, "paged", image.image.diff_ids[0], image.layers[0])
    manifest = image_manifest(image, list(image.layers))
    tags = registry.repository("paged") / "_manifests/tags"
    client.put_manifest("paged", "t0", manifest)
    for number in range(1, 1203):  # as the registry does it, and faster
        link = tags / f"t{number}" / "current" / "link"
        link.parent.mkdir(parents=True)
        link.write_text(manifest.digest)

    assert len(client.tags("paged")) == 1203
    assert "paged" in client.repositories()


def test_an_upload_goes_on_after_the_registry_was_killed_between_two_pieces(tmp_path: Path) -> None:
    data = bytes(range(256)) * (PIECE_BYTES // 256) + b"the rest"
    with RegistryProcess(tmp_path) as registry, closing(RegistryClient(registry.url, pause=0.1)) as client:
        upload = LayerUpload(client, "app")
        upload.write(data[:PIECE_BYTES])

        registry.kill()
        registry.start()
        upload.write(data[PIECE_BYTES:])
        upload.finish(sha256_id(data))

        assert client.blob_size("app", sha256_id(data)) == len(data)


def test_a_mount_gives_a_repository_what_another_has_and_tells_when_it_cannot(
    client: RegistryClient, repository: str
) -> None:
    put_blob(client, repository, sha256_id(b"layer"), b"layer")

    assert client.mount(f"{repository}/other", sha256_id(b"layer"), repository)
    assert not client.mount(f"{repository}/other", sha256_id(b"nothing"), repository)
    assert client.blob_size(f"{repository}/other", sha256_id(b"layer")) == 5
    assert client.blob_size(f"{repository}/other", sha256_id(b"nothing")) is None


def test_a_manifest_of_blobs_that_are_not_there_is_told_apart(client: RegistryClient, repository: str) -> None:
    image = an_image({"a": b"1"})

    with pytest.raises(BlobsUnknown):
        client.put_manifest(repository, "1", image_manifest(image, list(image.layers)))


def test_a_login_is_given_where_one_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ship:$2b$05$Ut/BnjO5i.DG.p5W0mpLuuFpHi96ioY/8Z8VZnIs3O5DTKLExYtja\n")
    config = tmp_path / "config.yml"
    section = f"auth: {{htpasswd: {{realm: ship, path: {tmp_path}/users}}}}\n"
    config.write_text(CONFIG.read_text() + section)
    with RegistryProcess(tmp_path / "registry", config=config) as registry:
        for login in (None, Login("ship", "wrong")):
            with closing(RegistryClient(registry.url, login, pause=0.1)) as client:
                assert client.answers()
                with pytest.raises(DependencyError) as raised:
                    client.repositories()
                assert raised.value.code == "registry.login"
        with closing(RegistryClient(registry.url, Login("ship", "of theseus"), pause=0.1)) as client:
            assert client.repositories() == []


# Whatever else may answer.


@contextmanager
def answering(answer: bytes, *, pause: float = 0.0) -> Iterator[RegistryClient]:
    """A server that says this to everything, byte by byte if there is a pause."""

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            pieces = [answer] if not pause else [answer[at : at + 1] for at in range(len(answer))]
            try:
                for piece in pieces:
                    self.wfile.write(piece)
                    time.sleep(pause)
            except OSError:
                pass
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = RegistryClient(f"http://127.0.0.1:{server.server_address[1]}", silence_seconds=1, pause=0.01)
    try:
        yield client
    finally:
        client.close()
        server.shutdown()
        server.server_close()


OK, JSON = b"HTTP/1.1 200 OK\r\n", b"Content-Type: application/json\r\n"
ODD = {
    "a web page": OK + b"Content-Type: text/html\r\n\r\n<html>Welcome aboard! Please log in.</html>",
    "a web page instead of 404": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n<html></html>",
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n",
    "an empty body": OK + JSON + b"Content-Length: 0\r\n\r\n",
    "a list": OK + JSON + b"Content-Length: 2\r\n\r\n[]",
    "wrong types": OK + JSON + b'Content-Length: 37\r\n\r\n{"repositories": [1], "tags": [null]}',
    "deep JSON": OK + JSON + b"\r\n" + b"[" * 100_000,
    "an endless body": OK + JSON + b"\r\n" + b" " * (5 << 20),
    "a cut body": OK + JSON + b'Content-Length: 500\r\n\r\n{"repositories"',
    "the same page for ever": OK
    + JSON
    + b'Link: </v2/_catalog?n=1>; rel="next"\r\nContent-Length: 36\r\n\r\n{"repositories":["a"],"tags": ["a"]}',
    "503": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 99999\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    "a body with no length in time": OK + JSON + b"Content-Length: 40\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_answers_instead_of_a_registry_is_a_dependency_that_fails_and_in_bounded_time(name: str) -> None:
    with answering(ODD[name]) as client:
        started = time.monotonic()
        for ask in (client.repositories, lambda: client.tags("app")):
            with pytest.raises(DependencyError):
                ask()

        assert time.monotonic() - started < 20


@pytest.mark.parametrize("answer", [OK + b"X-Filler: 1\r\n" * 500, OK + JSON + b"\r\n" + b" " * 5000])
def test_an_answer_that_trickles_ends(answer: bytes) -> None:
    with answering(answer, pause=0.2) as client:
        started = time.monotonic()
        with pytest.raises(DependencyError):
            client.start_upload("app")

        assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", [name for name in ODD if name not in ("an empty body", "a list", "deep JSON")])
def test_no_odd_answer_makes_a_blob_or_a_manifest_exist_or_vanish(name: str) -> None:
    with answering(ODD[name]) as client, pytest.raises(DependencyError):
        client.blob_size("app", sha256_id(b"1"))
        client.mount("app", sha256_id(b"1"), "other")
