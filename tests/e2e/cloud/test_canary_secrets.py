"""Secrets planted everywhere, the whole way of an image at the log level DEBUG, and then every trace of it searched.

A secret is where it has to be (settings, key files, the hub's own store, twins, the answer that gives an upload's URL)
and nowhere else: no line of a log, no answer, mail, row of SQL or of Durable's history, no name or content of a blob.
"""

from __future__ import annotations

import base64
import random
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from imagedelta.bundles.keys import generate_private_key, private_key_pem, public_key_of
from imagedelta_local.hub_service import HubService
from tests.e2e.cloud_process import APP, MODULE, CloudProcess, manifest_of
from tests.e2e.host_process import HubClient, hub_key, wait_for
from tests.e2e.parts import azurite as azurite_part
from tests.e2e.parts import smtp_server
from tests.e2e.parts.azurite import Azurite
from tests.e2e.parts.certificates import Authority
from tests.e2e.parts.device_process import REGISTRY, DeviceProcess
from tests.e2e.parts.smtp_server import SmtpServer
from tests.images import an_image, docker_save

pytestmark = pytest.mark.e2e

CODE = random.Random(31).randbytes(200_000)
OLD = an_image({"lib": b"library " * 9_000}, {"app/code": CODE}, references=["canary:1"])
NEW = an_image({"lib": b"library " * 9_000}, {"app/code": CODE[:-900] + b"changed" * 100}, references=["canary:2"])
GIVEN = "canary-of-a-caller-0123456789abcdef"
"""What callers put where it does not belong."""
HOOK, HOOK_SECRET = "canary-path-of-a-webhook", "canary secret that signs events"
"""Nobody listens there: each try is an error that is told."""
_OWN_PLACES = ("keys.json", "endpoint.json", "seal.key", "iothub", "hubs")
"""Parts of names of files in the host's state folder that hold secrets by design, or are the hub's side."""


@dataclass
class Traces:
    """What is left of a run: place -> content. And what must not be in it: name -> secret."""

    places: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def found(self, secret: str) -> list[str]:
        forms = {form.encode() for form in forms_of(secret)}
        return [place for place, content in self.places.items() if any(form in content for form in forms)]


def forms_of(secret: str) -> set[str]:
    """As it is, in a URL, in JSON, and in base64 at each of its three phases."""
    shifted = [base64.b64encode(b"\0" * phase + secret.encode())[4 if phase else 0 : -4] for phase in range(3)]
    return {secret, quote(secret, safe=""), secret.replace("/", "\\/"), *(each.decode() for each in shifted)}


class Watched(CloudProcess):
    """Keeps every answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.answers: dict[str, bytes] = {}
        super().__init__(*args, **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = super().ask(method, path, **options)
        place = f"answer {len(self.answers)} to {method} {path}"
        self.answers[place] = answer.content + repr(answer.headers.raw).encode()
        return answer


@pytest.fixture(scope="module")
def traces(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, azurite: Azurite, smtp: SmtpServer
) -> Iterator[Traces]:
    folder = tmp_path_factory.mktemp("canary")
    private = generate_private_key()
    pem = private_key_pem(private).decode()
    trust = str(authority.write(folder))
    cloud = Watched(
        folder,
        _talkative(folder / "app"),
        mail=smtp,
        SSL_CERT_FILE=trust,
        REQUESTS_CA_BUNDLE=trust,
        IMAGEDELTA_STORAGE=azurite.connection_string,
        IMAGEDELTA_SEAL_KEY_PEM=pem,
        IMAGEDELTA_SMTP_SECURITY="starttls",
        IMAGEDELTA_SMTP_USER=smtp_server.USER,
        IMAGEDELTA_SMTP_PASSWORD=smtp_server.PASSWORD,
        IMAGEDELTA_MAIL_FROM="fleet@example.org",
        IMAGEDELTA_WEBHOOK_URL=f"http://127.0.0.1:9/{HOOK}",
        IMAGEDELTA_WEBHOOK_SECRET=f"whsec_{base64.b64encode(HOOK_SECRET.encode()).decode()}",
    )
    traces = Traces()
    traces.secrets = {
        "the private key that seals": pem.splitlines()[1],
        "the storage account's key": azurite_part.KEY,
        "the mail server's password": smtp_server.PASSWORD,
        "the path of the webhook": HOOK,
        "the secret of the webhook": HOOK_SECRET,
        "the hub's key": hub_key(cloud.host.state, "north"),
        "the function key": cloud.host.endpoint()["key"],
        "the master key": cloud.host.endpoint()["masterKey"],
    }
    (folder / "trusted.pub").write_text(public_key_of(private).to_text() + "\n")
    before = len(smtp.received)
    try:
        with (
            mock.patch.dict("os.environ", {"SSL_CERT_FILE": trust}),
            HubService(cloud.host.endpoint()["hubs"]["north"]) as hub,
        ):
            _run(cloud, hub, folder, trust, traces, smtp)
            traces.places |= _rows(cloud.host.state) | cloud.answers
            traces.places |= {f"mail {n}": mail.content for n, mail in enumerate(smtp.received[before:])}
            traces.places |= _blobs(azurite)
            traces.places["log of the host"] = cloud.host.log.read_bytes()
        yield traces
    finally:
        cloud.stop()


def _talkative(folder: Path) -> Path:
    """The app as Azure's worker has it: all that anybody logs comes out, unless the app itself keeps it quiet."""
    folder.mkdir()
    for name in ("host.json", "database_upgrade.py", "priorities.yaml"):
        shutil.copy(APP / name, folder)
    (folder / "function_app.py").write_text(
        f"""
import importlib.util, logging, sys
sys.path.insert(0, {str(APP)!r})
for logger in list(logging.root.manager.loggerDict):
    logging.getLogger(logger).setLevel(logging.NOTSET)
logging.root.setLevel(logging.DEBUG)
logging.getLogger("canary").debug("DEBUG is on")
spec = importlib.util.spec_from_file_location("the_app", {str(APP / "function_app.py")!r})
loaded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loaded)
app = loaded.app
"""
    )
    return folder


def _run(cloud: Watched, hub: HubService, folder: Path, trust: str, traces: Traces, smtp: SmtpServer) -> None:
    """Order, plan, build, publish, fetch, report, release, mails; and what callers should not send."""
    upload = cloud.call("POST", "/api/uploads", 201)
    traces.secrets["the signature of an upload"] = _signature(upload["url"])
    cloud.answers.popitem()  # the one answer that is to hold it
    _hostile(cloud)
    for image in (OLD, NEW):
        assert cloud.register(docker_save(image))["state"] == "registered"
        _drop_uploads(cloud)
    ship = DeviceProcess(
        folder / "ship", hub, "canary-1", folder / "trusted.pub", SSL_CERT_FILE=trust, IMAGEDELTA_LOG_LEVEL="DEBUG"
    )
    ship.load(OLD)
    hub.apply_content("canary-1", manifest_of(f"{REGISTRY}/canary:1")["modulesContent"])
    with ship:
        cloud.call("PUT", "/api/devices/canary-1", 201, json={"hub": "north"})
        wait_for(lambda: cloud.items("/api/devices/canary-1/images"), 60, pause=0.2)
        path = cloud.start(
            "canary-1", manifest=manifest_of("canary:2"), owner={"name": "Ada", "email": "canary@example.org"}
        )
        done = cloud.settled(path, "completed", "completed_with_failures", "failed", seconds=120)
        assert done["state"] == "completed", done
        assert ship.has(NEW)
        wait_for(lambda: len(smtp.to("canary@example.org")) >= 2, 30)
        north = HubClient(cloud.host, "north", traces.secrets["the hub's key"])
        twin = north.service("GET", f"/twins/canary-1/modules/{MODULE}").json()
        outbox = twin["properties"]["desired"]["outbox"]
    traces.secrets["the signature of the device's grant"] = _signature(f"?{outbox['query']}")
    traces.secrets["the device's key"] = hub.ensure_module("canary-1", MODULE).rpartition("SharedAccessKey=")[2]
    for look in (f"{path}/events", f"{path}/members", f"{path}/releases", f"{path}/notifications"):
        cloud.items(look)
    for look in ("/api/audit", "/api/quarantine", "/api/transfers", "/api/patches", "/api/devices"):
        cloud.items(look)
    cloud.call("GET", "/api/health", 200)
    traces.places["log of the device"] = ship.log.read_bytes()


def _hostile(cloud: Watched) -> None:
    """Secrets of callers in references, addresses and queries: refused, and nobody else learns of them."""
    traces = cloud.answers
    cloud.ask("POST", "/api/images", json={"registry": f"https://someone:{GIVEN}@registry.example/app:1"})
    cloud.ask("POST", "/api/images", json={"registry": f"someone:{GIVEN}@registry.example/app:1"})
    cloud.ask("POST", "/api/images", json={"blob": f"intake/a?sv=2024-11-04&sig={GIVEN}"})
    cloud.ask("POST", "/api/images", json={"blob": f"https://account.blob.core.windows.net/intake/a?sig={GIVEN}"})
    cloud.ask("PUT", "/api/devices/odd", json={"hub": "north", "registryAddress": f"someone:{GIVEN}@localhost:5000"})
    cloud.ask("GET", f"/api/devices?code={GIVEN}")
    cloud.ask("GET", f"/api/nothing?code={GIVEN}")
    cloud.ask("POST", "/api/deployment-sets", json={"connectionString": f"SharedAccessKey={GIVEN}"})
    image = manifest_of(f"someone:{GIVEN}@registry.example/app:1")
    cloud.ask("POST", "/api/deployment-sets", json={"manifest": image, "name": "odd", "devices": {"ids": ["odd"]}})
    for place in list(traces)[-9:]:
        traces[place] = b""  # what a caller sent may come back to that caller


def _drop_uploads(cloud: Watched) -> None:
    for place in [place for place in cloud.answers if place.endswith("POST /api/uploads")]:
        del cloud.answers[place]


def _signature(url: str) -> str:
    (signature,) = parse_qs(urlsplit(url).query)["sig"]
    return signature


def _rows(state: Path) -> dict[str, bytes]:
    """Every row of every database of the app and of Durable, as SQL text."""
    places = {}
    for path in sorted(state.rglob("*")):
        if path.suffix not in (".db", ".sqlite") or any(part in str(path.relative_to(state)) for part in _OWN_PLACES):
            continue
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            places[f"rows of {path.name}"] = "\n".join(database.iterdump()).encode()
    return places


def _blobs(azurite: Azurite) -> dict[str, bytes]:
    places = {}
    for container in azurite.service.list_containers():
        if container.name.startswith(("outbox-canary", "patches", "indexes", "signatures", "scratch")):
            client = azurite.service.get_container_client(container.name)
            for blob in client.list_blobs():
                content = client.download_blob(blob.name).readall()
                places[f"blob {container.name}/{blob.name}"] = f"{container.name}/{blob.name} ".encode() + content
    return places


def test_a_secret_is_found_in_whatever_it_is_wrapped() -> None:
    secret = "s3cr3t/with+signs=and more"
    wrapped = [
        secret,
        quote(secret, safe=""),
        *(base64.b64encode(f"{pad}{secret}".encode()).decode() for pad in ("", "a", "ab")),
    ]

    traces = Traces({each: f"... {each} ...".encode() for each in wrapped} | {"else": b"nothing"})

    assert traces.found(secret) == wrapped


def test_the_traces_are_there_to_be_searched(traces: Traces) -> None:
    kinds = {place.split()[0] for place in traces.places}

    assert kinds == {"log", "answer", "mail", "rows", "blob"}
    assert len([place for place in traces.places if place.startswith("rows")]) >= 2, sorted(traces.places)
    assert b"DEBUG is on" in traces.places["log of the host"]
    assert all(len(secret) >= 20 for secret in traces.secrets.values())


def test_no_secret_is_anywhere_but_where_it_has_to_be(traces: Traces) -> None:
    found: Mapping[str, list[str]] = {
        name: places for name, secret in traces.secrets.items() if (places := traces.found(secret))
    }

    assert found == {}


def test_what_a_caller_put_where_it_does_not_belong_is_told_to_nobody_else(traces: Traces) -> None:
    assert traces.found(GIVEN) == []
