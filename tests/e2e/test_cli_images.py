"""Image arguments ``docker://`` and ``registry://`` against a real dockerd and a real registry."""

from __future__ import annotations

import base64
import json
import os
import pty
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagedelta.archives import open_archive
from tests.e2e.archive_tools import require_tool, skopeo_copy
from tests.e2e.archive_tools import run as run_tool
from tests.e2e.cli_tools import COMMAND, RealRegistry, environment, put_image, put_index, refused, run
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.token_server import TokenServer
from tests.images import BuiltImage, an_image, docker_save, gzipped, oci_archive, plain, zstd_packed

pytestmark = pytest.mark.e2e

LIB = random.Random(1).randbytes(300_000)
BASE = {"base": b"same\n" * 9000}
OLD = an_image(BASE, {"lib.so": LIB}, references=("localhost/app:1",))
NEW = an_image(BASE, {"lib.so": LIB[:-7] + b"changed"}, references=("localhost/app:2",))
ARM = an_image(BASE, {"lib.so": LIB[::-1]}, references=("localhost/app:2",), platform="linux/arm64/v8")
HTPASSWD = "ann:$2y$05$y1zG8HlG5G8NlE7OBsLnAer0yqJZPkXLFb5TBtFFKLw2TQLlrq2b2"
"""bcrypt of "a password"; the only form that docker-registry takes."""


@pytest.fixture(scope="module")
def daemon(daemon) -> DockerDaemon:
    daemon.docker("load", stdin=docker_save(OLD, NEW))
    return daemon


@pytest.fixture(scope="module")
def registry(tmp_path_factory) -> Iterator[RealRegistry]:
    registry = RealRegistry(tmp_path_factory.mktemp("registry"))
    try:
        folder = tmp_path_factory.mktemp("images")
        push(registry, folder, "app:1", oci_archive(OLD, pack=gzipped))
        push(registry, folder, "app:2", oci_archive(NEW, pack=gzipped))
        put_image(registry, "app", "zstd", NEW, zstd_packed)
        put_image(registry, "app", "plain", NEW, plain)
        put_index(registry, "app", "both", {"linux/amd64": NEW, "linux/arm64/v8": ARM})
        skopeo_copy(
            f"docker://{registry.address}/app:1", f"docker://{registry.address}/app:v2s2", *INSECURE, "-f", "v2s2"
        )
        yield registry
    finally:
        registry.stop()


INSECURE = ("--src-tls-verify=false", "--dest-tls-verify=false")


def push(registry: RealRegistry, folder: Path, name: str, archive: bytes, *options: str) -> None:
    path = folder / "pushed.tar"
    path.write_bytes(archive)
    skopeo_copy(f"oci-archive:{path}", f"docker://{registry.address}/{name}", *INSECURE, *options)


def test_an_image_of_the_daemon_becomes_a_bundle_and_is_rebuilt_from_another_of_it(daemon, tmp_path):
    made = run(
        "diff",
        "docker://localhost/app:2",
        "--source",
        "docker://localhost/app:1",
        "-o",
        "b",
        cwd=tmp_path,
        env=daemon.env,
    )
    applied = run("apply", "b", "--source", "docker://localhost/app:1", "-o", "o", cwd=tmp_path, env=daemon.env)

    assert (made["targetImageId"], made["sources"]) == (NEW.image_id, [OLD.image_id])
    assert (applied["imageId"], applied["references"]) == (NEW.image_id, ["localhost/app:2"])
    assert layers_of(tmp_path / "o", NEW) == NEW.layers


def test_an_image_of_the_daemon_may_be_named_by_its_id(daemon, tmp_path):
    assert run("verify", f"docker://{OLD.image_id}", cwd=tmp_path, env=daemon.env)["imageId"] == OLD.image_id


def test_an_image_that_the_daemon_has_not_is_told_plainly(daemon, tmp_path):
    code, message = refused("sign", "docker://localhost/app:3", "-o", "s", cwd=tmp_path, env=daemon.env)

    assert (code, "request.no_image" in message, list(tmp_path.iterdir())) == (1, True, [])


def test_an_image_of_the_daemon_for_another_platform_is_not_taken(daemon, tmp_path):
    code, message = refused("verify", "docker://localhost/app:1#linux/arm64", cwd=tmp_path, env=daemon.env)

    assert (code, "is for linux/amd64, not linux/arm64" in message) == (1, True)


@pytest.mark.parametrize("tag", ["2", "zstd", "plain"])
def test_layers_of_a_registry_are_read_however_they_are_packed(registry, tmp_path, tag):
    found = run("verify", f"registry://{registry.address}/app:{tag}", cwd=tmp_path)

    assert (found["imageId"], found["layerBytes"]) == (NEW.image_id, sum(map(len, NEW.layers)))


def test_a_docker_manifest_is_read_as_well_as_an_oci_one(registry, tmp_path):
    assert run("verify", f"registry://{registry.address}/app:v2s2", cwd=tmp_path)["imageId"] == OLD.image_id


def test_a_bundle_goes_from_registry_to_archive(registry, tmp_path):
    new, old = (f"registry://{registry.address}/app:{tag}" for tag in "21")
    made = run("diff", new, "--source", old, "-o", "b", cwd=tmp_path)
    applied = run("apply", "b", "--source", old, "-o", "o", "--form", "oci", cwd=tmp_path)

    assert (made["targetImageId"], applied["references"]) == (NEW.image_id, [f"{registry.address}/app:2"])
    assert layers_of(tmp_path / "o", NEW) == NEW.layers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "o"]


@pytest.mark.parametrize(("platform", "image"), [("linux/amd64", NEW), ("linux/arm64", ARM), ("linux/arm64/v8", ARM)])
def test_the_platform_of_a_multi_platform_image_is_chosen(registry, tmp_path, platform, image):
    found = run("inspect", f"registry://{registry.address}/app:both#{platform}", cwd=tmp_path)

    assert (found["imageId"], found["platform"]) == (image.image_id, image.image.platform)


def test_a_platform_that_is_not_there_is_refused_with_those_that_are(registry, tmp_path):
    code, message = refused("verify", f"registry://{registry.address}/app:both#linux/s390x", cwd=tmp_path)

    assert (code, "there are: linux/amd64, linux/arm64" in message) == (1, True)


def test_an_image_named_by_digest_is_that_image(registry, tmp_path):
    digest = digest_in(registry, "app:1")

    found = run("inspect", f"registry://{registry.address}/app@{digest}", cwd=tmp_path)

    assert (found["imageId"], found["references"]) == (OLD.image_id, [])


@pytest.mark.parametrize("command", ["sign", "rank"])
def test_signatures_are_made_of_images_in_a_registry(registry, tmp_path, command):
    old, new = (f"registry://{registry.address}/app:{tag}" for tag in "12")
    if command == "sign":
        assert run("sign", new, "-o", "s", cwd=tmp_path)["imageId"] == NEW.image_id
    else:
        assert run("rank", new, old, cwd=tmp_path)["ranked"][0]["imageId"] == OLD.image_id


def test_a_blob_that_was_damaged_in_the_registry_is_refused(tmp_path):
    registry = RealRegistry(tmp_path / "registry")
    try:
        put_image(registry, "app", "2", NEW, plain)
        stored = next((tmp_path / "registry/data").rglob(f"{NEW.image.diff_ids[1][7:]}/data"))
        data = stored.read_bytes()
        stored.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])

        code, message = refused("sign", f"registry://{registry.address}/app:2", "-o", "s", cwd=tmp_path)
    finally:
        registry.stop()

    assert (code, "content.digest_mismatch" in message, (tmp_path / "s").exists()) == (1, True, False)


def test_a_registry_with_passwords_is_read_with_the_login_that_docker_keeps(tmp_path):
    (tmp_path / "htpasswd").write_text(HTPASSWD + "\n")
    registry = RealRegistry(tmp_path / "registry", f"auth: {{htpasswd: {{realm: r, path: {tmp_path}/htpasswd}}}}")
    try:
        with_login(tmp_path, registry, "ann", "a password")
        copy_in(registry, tmp_path)
        name = f"registry://{registry.address}/app:2"
        good = run("verify", name, cwd=tmp_path, env={"DOCKER_CONFIG": str(tmp_path)})
        code, message = refused("verify", name, cwd=tmp_path, env={"DOCKER_CONFIG": str(tmp_path / "none")})
        with_login(tmp_path, registry, "ann", "wrong")
        bad_code, bad = refused("verify", name, cwd=tmp_path, env={"DOCKER_CONFIG": str(tmp_path)})
    finally:
        registry.stop()

    assert good["imageId"] == NEW.image_id
    assert (code, "registry.denied" in message) == (1, True)
    assert (bad_code, "registry.denied" in bad, "wrong" in bad) == (1, True, False)


def test_a_registry_with_tokens_is_read_with_one_token_for_the_repository(tmp_path):
    tokens = TokenServer(tmp_path, "ann", "a password")
    registry = RealRegistry(tmp_path / "registry", tokens.auth)
    try:
        with_login(tmp_path, registry, "ann", "a password")
        copy_in(registry, tmp_path)
        tokens.asked.clear()
        name = f"registry://{registry.address}/app:2"
        good = run("verify", name, cwd=tmp_path, env={"DOCKER_CONFIG": str(tmp_path)})
        asked = list(tokens.asked)
        code, message = refused("verify", name, cwd=tmp_path, env={"DOCKER_CONFIG": str(tmp_path / "none")})
    finally:
        registry.stop()
        tokens.stop()

    assert (good["imageId"], asked) == (NEW.image_id, ["repository:app:pull"])
    assert (code, "registry.denied" in message) == (1, True)


def copy_in(registry: RealRegistry, folder: Path) -> None:
    push(registry, folder, "app:2", oci_archive(NEW), "--dest-creds", "ann:a password")


def with_login(folder: Path, registry: RealRegistry, user: str, password: str) -> None:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": auth}}}))


def digest_in(registry: RealRegistry, name: str) -> str:
    tool = require_tool("skopeo", "skopeo")
    return json.loads(run_tool(tool, "inspect", "--tls-verify=false", f"docker://{registry.address}/{name}"))["Digest"]


def layers_of(path: Path, built: BuiltImage) -> tuple[bytes, ...]:
    with open_archive(path) as archive:
        return tuple(archive.open_layer(built.image, n).read() for n in range(len(built.layers)))


def test_the_doctor_finds_both_well(daemon, registry, tmp_path):
    found = run("doctor", "--registry", registry.address, cwd=tmp_path, env=daemon.env)["checks"]

    states = {row["check"]: row["state"] for row in found}
    assert (states["docker"], states[f"registry {registry.address}"]) == ("ok", "ok")


def test_bars_are_drawn_on_a_terminal_and_leave_the_last_line_alone(registry, tmp_path):
    ours, theirs = pty.openpty()
    command = [*COMMAND, "verify", f"registry://{registry.address}/app:2", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.close(theirs)
    drawn = os.read(ours, 1 << 20).decode()
    os.close(ours)

    assert json.loads(done.stdout.splitlines()[-1])["verified"]
    assert "Reading layers" in drawn
