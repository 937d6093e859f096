"""The command line as a process, and a real registry beside the real dockerd of the fixture ``daemon``."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta.archives import sha256_id
from imagedelta.archives.oci import INDEX_TYPE, MANIFEST_TYPE
from tests.e2e.archive_tools import require_tool
from tests.images import BuiltImage, Pack, descriptor, plain

COMMAND = (sys.executable, "-m", "imagedelta_cli.main")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment and search path, and ``more``."""
    return {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path)), **(more or {})}


def start(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command of its own process group, as a shell does."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where a shell runs tests with &
    )


def run(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a command that succeeds and return the JSON of its last line."""
    process = start(*arguments, "--json", cwd=cwd, env=env)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def refused(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command that fails; return its exit code and what it says."""
    process = start(*arguments, cwd=cwd, env=env)
    _, err = process.communicate(timeout=300)
    return process.returncode, err


class RealRegistry:
    """Debian's docker-registry (distribution) on a free port, with its data under ``root``."""

    def __init__(self, root: Path, auth: str = "") -> None:
        """``auth``: the YAML of its ``auth`` section."""
        root.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        storage = f"storage: {{filesystem: {{rootdirectory: {root}/data}}, delete: {{enabled: true}}}}\n"
        config = f"version: 0.1\n{storage}http: {{addr: '{self.address}', secret: test}}\n{auth}\n"
        (root / "config.yml").write_text(config)
        self._log = root / "registry.log"
        tool = require_tool("docker-registry", "docker-registry")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [tool, "serve", str(root / "config.yml")], stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    def _wait(self) -> None:
        for _ in range(300):
            try:
                httpx.get(f"http://{self.address}/v2/", timeout=5, trust_env=False)
            except httpx.HTTPError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"docker-registry does not run: {self._log.read_text()[-2000:]}", pytrace=False)


def put_blob(registry: RealRegistry, repository: str, data: bytes) -> None:
    """Store a blob as it is; tools would pack it."""
    url = f"http://{registry.address}/v2/{repository}/blobs/uploads/"
    place = httpx.post(url, trust_env=False).raise_for_status().headers["location"]
    target = httpx.URL(place).copy_merge_params({"digest": sha256_id(data)})
    httpx.put(target, content=data, trust_env=False).raise_for_status()


def put_manifest(registry: RealRegistry, repository: str, tag: str, document: Mapping[str, Any]) -> bytes:
    """Store a manifest or index under a tag; return its bytes."""
    data = json.dumps(document).encode()
    url = f"http://{registry.address}/v2/{repository}/manifests/{tag}"
    kind = {"Content-Type": str(document["mediaType"])}
    httpx.put(url, content=data, headers=kind, trust_env=False).raise_for_status()
    return data


def put_image(registry: RealRegistry, repository: str, tag: str, built: BuiltImage, pack: Pack) -> bytes:
    """Store an image with its layers packed so; return its manifest."""
    packed = [pack(layer) for layer in built.layers]
    for data in (built.image.config, *packed):
        put_blob(registry, repository, data)
    config = descriptor("application/vnd.oci.image.config.v1+json", built.image.config)
    layers = [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in packed]
    return put_manifest(
        registry,
        repository,
        tag,
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers},
    )


def put_index(registry: RealRegistry, repository: str, tag: str, images: Mapping[str, BuiltImage]) -> None:
    """Store images by platform, and an index of them."""
    entries = []
    for platform, built in images.items():
        manifest = put_image(registry, repository, platform.replace("/", "-"), built, plain)
        parts = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
        entries.append(descriptor(MANIFEST_TYPE, manifest, platform=parts))
    put_manifest(registry, repository, tag, {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
