"""A Docker daemon with containerd's image store, as far as the engine speaks to one, on a real unix socket.

Such a daemon cannot be installed here, so what matters of it is played: an image's ID is the digest of its manifest or
index, ``save`` gives packed layers and an index, ``load`` keeps an image whose layers are missing without a word.
Answers can be replaced to see what the module makes of them.

Source: moby daemon/containerd/image_exporter.go and image_inspect.go; containerd images/archive.
"""

from __future__ import annotations

import io
import json
import re
import socketserver
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from imagedelta.archives import open_archive, sha256_id
from tests.images import BuiltImage, Pack, an_archive, gzipped, oci_files

Answer = Callable[["_Handler"], None]
_NESTED = "application/vnd.oci.image.index.v1+json"


class ContainerdStoreSimulator:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self.images: dict[str, BuiltImage] = {}
        """By the daemon's own ID."""
        self.names: dict[str, str] = {}
        self.used: set[str] = set()
        self.damaged: set[str] = set()
        """Listed as ever, but not to be read; loaded once more they stay so, as in a real store."""
        self._on_disk: set[str] = set()
        self.pack: Pack = gzipped
        self.versions = ("1.51", "1.44")
        self.log: list[str] = []
        self.instead: dict[str, Answer] = {}
        """Regular expression of ``METHOD path`` -> what is answered instead."""

    @contextmanager
    def running(self) -> Iterator[str]:
        """Yields its address."""
        simulator = self

        class Handler(_Handler):
            daemon = simulator

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """The module went away in the middle of an answer, as it may."""

        with Server(str(self._socket), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"unix://{self._socket}"
            finally:
                server.shutdown()
                thread.join()

    def put(self, image: BuiltImage, *names: str) -> str:
        """An image as a pull or build leaves it; returns its ID, the digest of an index."""
        own_id = sha256_id(self.index_of(image))
        self.images[own_id] = image
        for name in names:
            self.names[name] = own_id
        return own_id

    def sync(self) -> None:
        """Everything that was written so far is on the disk."""
        self._on_disk = set(self.images)

    def cut_power(self) -> None:
        """The daemon notes images at once; the files of those that were not on the disk are empty afterwards."""
        self.damaged |= set(self.images) - self._on_disk

    def index_of(self, image: BuiltImage) -> bytes:
        return oci_files(image, pack=self.pack)["index.json"]

    def find(self, name: str) -> str | None:
        return name if name in self.images else self.names.get(name)

    def archive(self, own_id: str) -> bytes:
        """As ``docker save`` gives it: the index of the image is nested in that of the archive; blobs by digest."""
        files = oci_files(self.images[own_id], pack=self.pack)
        index = files.pop("index.json")
        nested = {"mediaType": _NESTED, "digest": sha256_id(index), "size": len(index)}
        blobs = {**files, f"blobs/sha256/{sha256_id(index)[7:]}": index}
        ordered = dict(sorted(blobs.items()))
        outer = json.dumps({"schemaVersion": 2, "manifests": [nested]}).encode()
        return an_archive({**ordered, "index.json": outer})

    def load(self, archive: bytes) -> str:
        """Returns what is told."""
        with open_archive(io.BytesIO(archive)) as opened:
            (image,) = opened.images
            layers = tuple(opened.open_layer(image, number).read() for number in range(len(image.diff_ids)))
        files = _members(archive)
        (entry,) = json.loads(files["index.json"])["manifests"]
        self.images[entry["digest"]] = BuiltImage(image, layers)
        name = entry["annotations"]["io.containerd.image.name"].removeprefix("docker.io/")
        self.names[name] = entry["digest"]
        return f"Loaded image: {name}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    daemon: ContainerdStoreSimulator

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        path = unquote(re.sub(r"^/v[0-9.]+", "", parts.path))
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.daemon.log.append(f"{method} {parts.path}")
        for pattern, answer in self.daemon.instead.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                answer(self)
                return
        self._route(method, path)

    def _route(self, method: str, path: str) -> None:
        daemon = self.daemon
        image = re.fullmatch(r"/images/(.+?)(/json|/get|/tag|)", path)
        if path == "/version":
            self.say({"ApiVersion": daemon.versions[0], "MinAPIVersion": daemon.versions[1]})
        elif path == "/info":
            self.say({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]], "DockerRootDir": "/nowhere"})
        elif path == "/containers/json":
            self.say([{"ImageID": each} for each in daemon.used])
        elif path == "/images/json":
            self.say([{"Id": each} for each in daemon.images])
        elif path == "/images/load":
            self.say({"stream": daemon.load(self.body())})
        elif image:
            self._image(method, image[1], image[2])
        else:
            self.say({"message": "page not found"}, 404)

    def _image(self, method: str, name: str, action: str) -> None:
        daemon = self.daemon
        own_id = daemon.find(name)
        if own_id is None:
            self.say({"message": f"No such image: {name}"}, 404)
        elif action == "/json":
            self.say(self.described(own_id))
        elif action == "/get" and own_id in daemon.damaged:
            self.say({"message": "file integrity checksum failed"}, 500)
        elif action == "/get":
            self.send_all(daemon.archive(own_id))
        elif action == "/tag":
            daemon.names[f"{self.query['repo']}:{self.query['tag']}"] = own_id
            self.say("", 201)
        elif method == "DELETE":
            for each in [each for each, there in daemon.names.items() if there == own_id]:
                del daemon.names[each]
            del daemon.images[own_id]
            daemon.damaged.discard(own_id)
            self.say([{"Deleted": own_id}])

    def described(self, own_id: str) -> dict[str, Any]:
        image = self.daemon.images[own_id]
        tags = sorted(name for name, there in self.daemon.names.items() if there == own_id)
        layers = {"Type": "layers", "Layers": list(image.image.diff_ids)}
        return {"Id": own_id, "RepoTags": tags, "RootFS": layers, "Size": sum(map(len, image.layers))}

    # What answers are made of.

    def say(self, document: object, status: int = 200) -> None:
        self.send_all(json.dumps(document).encode(), status)

    def send_all(self, data: bytes, status: int = 200, *, promise: int | None = None) -> None:
        """``promise``: more bytes are announced than come."""
        self.send_response(status)
        self.send_header("Content-Length", str(promise or len(data)))
        self.end_headers()
        self.wfile.write(data)
        if promise:
            self.close_connection = True

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def begin_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def body(self) -> bytes:
        found = bytearray()
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(found)


def silence(seconds: float) -> Answer:
    def answer(_: _Handler) -> None:
        time.sleep(seconds)

    return answer


def trickle(handler: _Handler) -> None:
    """A byte now and then, for ever."""
    handler.begin_chunks()
    for _ in range(1000):
        handler.chunk(b" ")
        time.sleep(0.02)


def endless(handler: _Handler) -> None:
    handler.begin_chunks()
    for _ in range(100_000):
        handler.chunk(b" " * 65536)


def _members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
