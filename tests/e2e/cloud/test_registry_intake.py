"""Images out of real registries into the cloud: every form that skopeo pushes, links that break, hosts that die, pushes
that register themselves, and Azure's tokens for an identity."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagedelta.archives.model import Image
from imagedelta.archives.oci import INDEX_TYPE, MANIFEST_TYPE
from imagedelta.limits import DEFAULT_LIMITS
from imagedelta_registry.images import RegistryImages
from services.identity import Identity
from services.registries.intake import IntakeRegistry
from services.registries.settings import RegistrySettings
from tests.e2e.archive_tools import skopeo_copy
from tests.e2e.cli_tools import refused
from tests.e2e.cli_tools import run as run_command
from tests.e2e.cloud_process import CloudProcess
from tests.e2e.host_process import wait_for
from tests.e2e.parts import registry_logins
from tests.e2e.parts.acr_stand_in import AcrStandIn, acr_stand_in
from tests.e2e.parts.registry_process import CONFIG, RegistryProcess
from tests.images import BuiltImage, an_image, descriptor, gzipped, oci_archive
from tests.simulators.managed_identity import managed_identity
from tests.simulators.tcp_proxy import TcpProxy

pytestmark = pytest.mark.e2e

SECRET = "a secret of registry and cloud"
LOGIN = f"{registry_logins.USER}:{registry_logins.PASSWORD}"


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


LIB = {"usr/lib/a.so": noise(1, 400_000)}
OLD = an_image(LIB, {"app/a.dll": noise(2, 100_000)}, references=("app:1",))
NEW = an_image(LIB, {"app/a.dll": noise(2, 100_000)[:-500] + b"changed"}, references=("app:2",))
ARM = an_image(LIB, {"app/a.dll": noise(3, 100_000)}, references=("app:2",), platform="linux/arm64")
LARGE = an_image(*({f"layer-{n}": noise(10 + n, 1_500_000)} for n in range(4)), references=("large:1",))


class Intake:
    """A cloud, and a registry that wants a login, behind a proxy: the name by which both know it is the proxy's."""

    def __init__(self, folder: Path, link: TcpProxy) -> None:
        self.folder, self.link = folder, link
        self.address = link.address
        self.cloud = CloudProcess(
            folder,
            IMAGEDELTA_REGISTRIES="main",
            IMAGEDELTA_REGISTRY_MAIN_HOST=self.address,
            IMAGEDELTA_REGISTRY_MAIN_USER=registry_logins.USER,
            IMAGEDELTA_REGISTRY_MAIN_PASSWORD=registry_logins.PASSWORD,
            IMAGEDELTA_REGISTRY_MAIN_AUTOMATIC="auto/*",
            IMAGEDELTA_REGISTRY_MAIN_DEVICES="tags.ring = 'open'",
            IMAGEDELTA_HOOK_SECRET=SECRET,
            IMAGEDELTA_PREPARE_PATCHES="true",
        )
        config = folder / "registry.yml"
        config.write_text(CONFIG.read_text() + self._notifications())
        self.registry = RegistryProcess(folder / "registry", config=config, more=registry_logins.basic(folder))
        link.target = ("127.0.0.1", self.registry.port)

    def _notifications(self) -> str:
        """Source: distribution, docs/content/about/notifications.md."""
        url = f"{self.cloud.host.url}/api/hooks/registry"
        headers = f"{{X-ImageDelta-Secret: ['{SECRET}']}}"
        endpoint = f"name: cloud, url: '{url}', headers: {headers}, timeout: 5s, threshold: 5, backoff: 200ms"
        return f"\nnotifications:\n  endpoints:\n    - {{{endpoint}}}\n"

    def stop(self) -> None:
        self.registry.stop()
        self.cloud.stop()

    def push(self, name: str, *images: BuiltImage, options: tuple[str, ...] = ()) -> str:
        """By skopeo, straight or with options; returns the reference."""
        archive = self.folder / "pushed.tar"
        archive.write_bytes(oci_archive(*images, pack=gzipped))
        reference = f"{self.address}/{name}"
        login = ("--dest-tls-verify=false", "--dest-creds", LOGIN)
        skopeo_copy(f"oci-archive:{archive}", f"docker://{reference}", *login, *options)
        return reference

    def push_index(self, name: str, images: dict[str, BuiltImage]) -> str:
        """One for each platform, and an index of them under the name."""
        repository, _, tag = name.partition(":")
        entries = []
        for platform, built in images.items():
            self.push(f"{repository}:{built.image_id[7:19]}", built, options=("--format", "oci"))
            manifest = self._manifest(repository, built.image_id[7:19]).content
            named = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
            entries.append(descriptor(MANIFEST_TYPE, manifest, platform=named))
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
        self._manifest(repository, tag, content=json.dumps(index), headers={"Content-Type": INDEX_TYPE})
        return f"{self.address}/{name}"

    def _manifest(self, repository: str, tag: str, **sent: Any) -> httpx.Response:
        url = f"http://{self.address}/v2/{repository}/manifests/{tag}"
        headers = {"Accept": MANIFEST_TYPE, **sent.pop("headers", {})}
        method, login = "PUT" if sent else "GET", (registry_logins.USER, registry_logins.PASSWORD)
        answer = httpx.request(method, url, auth=login, headers=headers, trust_env=False, **sent)
        return answer.raise_for_status()

    def register(self, reference: str, **more: str) -> dict[str, Any]:
        accepted = self.cloud.ask("POST", "/api/images", json={"registry": reference, **more})
        assert accepted.status_code == 202, accepted.text
        return self.cloud.settled(accepted.headers["location"], "registered", "failed")

    def image(self, reference: str) -> dict[str, Any] | None:
        found = self.cloud.items(f"/api/images?reference={reference}")
        return found[0] if found else None


@pytest.fixture(scope="module")
def intake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Intake]:
    with TcpProxy(("127.0.0.1", 9)) as link:
        intake = Intake(tmp_path_factory.mktemp("intake"), link)
        yield intake
        intake.stop()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("docker", ("--format", "v2s2")),
        ("oci", ("--format", "oci")),
        ("zstd", ("--format", "oci", "--dest-compress-format", "zstd", "--dest-compress")),
        ("plain", ("--format", "oci", "--dest-decompress")),
    ],
)
def test_whatever_skopeo_pushes_is_the_same_image(intake: Intake, name: str, options: tuple[str, ...]) -> None:
    reference = intake.push(f"forms/{name}:1", NEW, options=options)

    done = intake.register(reference)

    assert done["images"] == {"linux/amd64": NEW.image_id}, done
    image = intake.image(reference)
    assert image is not None and image["diffIds"] == list(NEW.image.diff_ids)


def test_of_an_image_for_several_platforms_a_stated_one_is_taken_or_what_the_fleet_runs(intake: Intake) -> None:
    reference = intake.push_index("both:2", {"linux/amd64": NEW, "linux/arm64": ARM})
    assert intake.register(reference, platform="linux/arm64")["images"] == {"linux/arm64": ARM.image_id}

    intake.cloud.device("lone-ship")
    assert intake.register(reference)["images"] == {"linux/amd64": NEW.image_id}


def test_a_push_registers_itself_with_its_patch_and_may_go_only_where_the_rule_says(intake: Intake) -> None:
    first = intake.push("auto/app:1", OLD)
    wait_for(lambda: intake.image(first), 30, pause=0.2)
    ship, other = intake.cloud.device("open-ship", tags={"ring": "open"}), intake.cloud.device("closed-ship")
    for each in (ship, other):
        each.has(OLD.image_id)

    second = intake.push("auto/app:2", NEW)
    wait_for(lambda: intake.image(second), 30, pause=0.2)
    (patch,) = wait_for(lambda: _verified(intake, NEW), 60, pause=0.2)

    assert patch["sources"] == [OLD.image_id]
    order = {"images": [second], "manifest": None}
    path = intake.cloud.start("open-ship", **order)
    (transfer,) = wait_for(lambda: _published(intake, path), 60, pause=0.2)
    assert transfer["patchId"] == patch["patchId"]
    assert [one["patchId"] for one in _verified(intake, NEW)] == [patch["patchId"]]
    code, message = refused_order(intake, second, "closed-ship")
    assert (code, "closed-ship" in message) == ("plan.registry", True)
    pushed = [entry for entry in intake.cloud.items("/api/audit?limit=500") if entry["action"] == "image.pushed"]
    assert {entry["who"] for entry in pushed} == {"registry main"}
    assert [entry["detail"]["reference"] for entry in reversed(pushed)] == [first, second]


def _verified(intake: Intake, target: BuiltImage) -> list[dict[str, Any]]:
    return [one for one in intake.cloud.items(f"/api/patches?target={target.image_id}") if one["state"] == "verified"]


def _published(intake: Intake, path: str) -> list[dict[str, Any]]:
    found = intake.cloud.items(f"/api/transfers?set={path.rpartition('/')[2]}")
    return [one for one in found if one["state"] == "published"]


def refused_order(intake: Intake, reference: str, device_id: str) -> tuple[str, str]:
    order = {"name": "no", "owner": {"name": "A", "email": "a@example.org"}, "images": [reference]}
    order |= {"devices": {"ids": [device_id]}}
    answer = intake.cloud.ask("POST", "/api/deployment-sets", json=order)
    return str(answer.json()["code"]), str(answer.json()["detail"])


def test_a_link_that_breaks_again_and_again_costs_no_byte_twice(intake: Intake) -> None:
    reference = intake.push("large:1", LARGE)
    intake.link.carried_down, intake.link.cuts, intake.link.cut_after = 0, 0, 450_000
    try:
        done = intake.register(reference)
    finally:
        intake.link.cut_after = None

    assert done["images"] == {"linux/amd64": LARGE.image_id}, done
    whole = sum(len(layer) for layer in LARGE.layers)
    assert intake.link.cuts >= 12
    assert intake.link.carried_down < whole * 1.1


def test_a_host_killed_in_the_middle_goes_on_with_the_layers_that_are_there(intake: Intake) -> None:
    image = an_image(*({f"layer-{n}": noise(20 + n, 1_500_000)} for n in range(4)), references=("killed:1",))
    reference = intake.push("killed:1", image)
    intake.link.bytes_per_second = 1_200_000
    accepted = intake.cloud.ask("POST", "/api/images", json={"registry": reference})
    layers = [intake.cloud.host.state / "blobs/layers" / each.removeprefix("sha256:") for each in image.image.diff_ids]
    wait_for(lambda: layers[1].exists(), 30)
    intake.cloud.host.kill()
    intake.link.bytes_per_second, intake.link.carried_down = None, 0
    here = sum(each.exists() for each in layers)

    intake.cloud.host.start()
    done = intake.cloud.settled(accepted.headers["location"], "registered", "failed")

    assert done["images"] == {"linux/amd64": image.image_id}, done
    assert here in (2, 3)
    assert intake.link.carried_down < (5 - here + 0.1) * 1_500_000, "the last one may lack its row"


def test_a_registry_that_is_away_leaves_the_registration_open_until_it_is_back(intake: Intake) -> None:
    reference = intake.push("away:1", OLD)
    intake.link.refusing = True
    intake.link.cut()
    accepted = intake.cloud.ask("POST", "/api/images", json={"registry": reference})
    location = accepted.headers["location"]
    assert intake.cloud.settled(location, "reading")["state"] == "reading"

    intake.link.refusing = False

    assert intake.cloud.settled(location, "registered", "failed")["state"] == "registered"


def test_the_command_line_has_the_cloud_read_a_registry(intake: Intake, tmp_path: Path) -> None:
    reference, endpoint = intake.push("cli:1", OLD), intake.cloud.host.endpoint()
    env = {"IMAGEDELTA_URL": str(endpoint["url"]), "IMAGEDELTA_KEY": str(endpoint["key"])}

    done = run_command("register", f"registry://{reference}", cwd=tmp_path, env=env)

    assert done["images"] == {"linux/amd64": OLD.image_id}
    code, message = refused("register", f"registry://{intake.address}/no:1", cwd=tmp_path, env=env)
    assert (code, "request.no_image" in message) == (1, True)
    code, message = refused("register", "registry://elsewhere.example/app:1", cwd=tmp_path, env=env)
    assert (code, "request.unknown_registry" in message) == (1, True)


def test_the_login_of_a_registry_stands_in_no_log_and_no_answer(intake: Intake) -> None:
    logs = intake.cloud.host.log.read_text() + intake.registry.log.read_text()

    assert registry_logins.PASSWORD not in logs
    assert SECRET not in logs
    assert registry_logins.PASSWORD not in str(intake.cloud.items("/api/audit?limit=500"))


# ---------------------------------------------------------------- Azure's registries


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AcrStandIn, IntakeRegistry]]:
    folder = tmp_path_factory.mktemp("acr")
    with managed_identity() as identity, pytest.MonkeyPatch.context() as patch:
        for name, value in identity.environment.items():
            patch.setenv(name, value)
        token = identity.tokens["https://containerregistry.azure.net"] = "of the app's identity".replace(" ", "-")
        with acr_stand_in(folder, token) as acr:
            settings = RegistrySettings("acr", acr.address, "", "identity", "", "", False, "", ())
            yield acr, IntakeRegistry(settings, Identity().token, DEFAULT_LIMITS, pause=0.05)


def read_whole(found: RegistryImages, image: Image) -> list[bytes]:
    layers = []
    for position in range(len(image.diff_ids)):
        with found.open_layer(image, position) as layer:
            layers.append(layer.read())
    return layers


def push_to(acr: AcrStandIn, folder: Path, name: str, image: BuiltImage) -> None:
    archive = folder / "pushed.tar"
    archive.write_bytes(oci_archive(image, pack=gzipped))
    options = ("--dest-tls-verify=false", "--dest-registry-token", acr.tokens.token(f"repository:{name}:pull,push"))
    skopeo_copy(f"oci-archive:{archive}", f"docker://{acr.registry.address}/{name}:1", *options)


def test_an_identity_reads_azures_registry_and_its_storage_sees_no_token(
    azure: tuple[AcrStandIn, IntakeRegistry], tmp_path: Path
) -> None:
    acr, registry = azure
    for name in ("team/one", "team/two"):
        push_to(acr, tmp_path, name, NEW)
    acr.cut_next = 50_000

    for name in ("team/one", "team/two"):
        found = registry.open(f"{acr.address}/{name}:1", [])
        (image,) = found.images
        assert tuple(read_whole(found, image)) == NEW.layers

    assert (acr.count("/oauth2/exchange"), acr.count("/oauth2/token")) == (1, 2)
    storage = [brought for _, path, brought in acr.asked if path.startswith("/storage")]
    assert len(storage) == 2 * 3 + 1
    assert not any(storage)


def test_an_identity_without_rights_is_told_so(azure: tuple[AcrStandIn, IntakeRegistry], tmp_path: Path) -> None:
    acr, _ = azure
    settings = RegistrySettings("acr", acr.address, "", "identity", "", "", False, "", ())
    stranger = IntakeRegistry(settings, lambda scope: "somebody-else", DEFAULT_LIMITS, pause=0)

    with pytest.raises(Exception, match="does not accept the login") as refusal:
        stranger.open(f"{acr.address}/team/one:1", [])
    assert getattr(refusal.value, "code", "") == "registry.denied"
