"""The demo's eight steps, in order. Everything the product does, it is asked for by its command or by HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo import scenario, words
from demo.azurite import Azurite
from demo.checks import Check, check_run
from demo.cloud import Cloud, run_command
from demo.evidence import Course, Witnesses, read_back
from demo.fleet import Fleet
from demo.images import RECON, BuiltImage, build_images, write_archives
from demo.link import LinkRoom
from demo.mail_sink import MailSink
from demo.processes import ProcessRoom, free_port
from demo.progress import Show, indented, listing, plan_table, result_table
from demo.record import RunRecord
from demo.report import write_report
from demo.watch import TookTooLong, Watch
from demo.wheels import fetch
from demo.workspace import PROJECT, Workspace
from imagedelta_local.hub_service import HubService

_INVENTORY_SECONDS = 60


@dataclass
class Demo:
    """One run. ``stack`` holds everything that has to be closed, whatever happens."""

    workspace: Workspace
    show: Show
    stack: ExitStack
    with_azurite: bool = False
    """Blobs lie in Azurite instead of the host's folder."""
    started: float = field(default_factory=time.time)
    images: dict[str, BuiltImage] = field(default_factory=dict)
    archives: dict[str, Path] = field(default_factory=dict)

    def run(self) -> bool:
        """Whether everything held. Raises what made going on impossible."""
        self._make_images()
        self._start_cloud()
        self._register_and_enrol()
        set_id, plan = self._plan_and_start()
        watch = self._watch(set_id)
        self._show_mail_and_manifests()
        return self._tell(self._record(watch, plan))

    @property
    def references(self) -> dict[str, str]:
        """image ID -> reference."""
        return {image.image.image_id: reference for reference, image in self.images.items()}

    def _make_images(self) -> None:
        self.show.step("Making four real images from published packages")
        wheels = fetch(self.workspace.downloads, self.show.fetched)
        self.images = build_images(wheels, self.workspace.layers)
        self.archives = write_archives(self.images, self.workspace.archives)
        for reference, image in self.images.items():
            form = "OCI archive" if ".oci." in self.archives[reference].name else "docker save"
            size, layers = words.size(image.full_bytes), len(image.layers)
            name = words.short_id(image.image.image_id)
            self.show.line(f"{reference:<8} {size:>7}, {layers} layers, {form:<11} {name}")

    def _start_cloud(self) -> None:
        self.show.step("Starting the cloud on this machine")
        mail = self.stack.enter_context(MailSink(self.workspace.mail))
        room = self.stack.enter_context(ProcessRoom(self.workspace.logs, PROJECT))
        key = self.workspace.keys / "seal.key"
        made = run_command("keys", "new", str(key))
        self.show.line(f"key {made['keyId']} seals bundles")
        port = free_port()
        settings = _settings(key, mail.port) | self._storage(room)
        self.cloud = self.stack.enter_context(Cloud(room, self.workspace, settings, port))
        self.hubs = {
            name: self.stack.enter_context(HubService(connection))
            for name, connection in self.cloud.endpoint["hubs"].items()
        }
        links = self.stack.enter_context(LinkRoom())
        public = Path(made["publicFile"])
        self.fleet = self.stack.enter_context(Fleet(room, links, self.hubs, self.workspace, port, public))
        self.mail, self.room = mail, room
        self.show.line(f"function_app.py is served at {self.cloud.endpoint['url']}, hubs {listing(scenario.HUBS)}")

    def _storage(self, room: ProcessRoom) -> dict[str, str]:
        self.blob_names: Callable[[str], list[str]] = self.workspace.blob_names
        if not self.with_azurite:
            return {}
        azurite = Azurite(room, self.workspace.azurite)
        self.blob_names = azurite.names
        self.show.line(f"blobs lie in the storage account {azurite.url}")
        return {"IMAGEDELTA_STORAGE": azurite.connection}

    def _register_and_enrol(self) -> None:
        self.show.step("Registering images, enrolling three ships")
        for reference, archive in self.archives.items():
            done = self.cloud.command("register", str(archive), "--reference", reference)
            self.show.line(f"registered {reference} as {listing(map(words.short_id, done['images'].values()))}")
        for ship in scenario.SHIPS:
            self._enrol(ship)
            self.fleet.add(ship, self.images)
        self._wait_for_inventories()

    def _enrol(self, ship: scenario.Ship) -> None:
        rate = str(ship.link.bytes_per_second)
        self.cloud.command(
            *("devices", "enrol", ship.device, "--hub", ship.hub, "--registry-address", scenario.REGISTRY),
            *("--bytes-per-second", rate, "--money-per-megabyte", "4", "--tag", f"ship={ship.device}"),
        )

    def _wait_for_inventories(self) -> None:
        """Raises: TookTooLong; ProcessEnded."""
        missing = {ship.device: set(ship.images) for ship in scenario.SHIPS}
        end = time.monotonic() + _INVENTORY_SECONDS
        while missing:
            if time.monotonic() > end:
                raise TookTooLong(f"no inventory of {listing(sorted(missing))} within {_INVENTORY_SECONDS} s")
            self.room.require_alive()
            time.sleep(0.3)
            for device in sorted(missing):
                items = self.cloud.get(f"devices/{device}/images")["items"]
                if missing[device] <= {reference for item in items for reference in item["references"]}:
                    self.show.line(f"{device:<8} has {listing(sorted(missing.pop(device)))}")

    def _plan_and_start(self) -> tuple[str, dict[str, Any]]:
        self.show.step("Ordering app:2 and tool:1 for all three: the plan first, then the order")
        template = self.workspace.root / "deployment.template.json"
        template.write_text(json.dumps(scenario.manifest_template(), indent=2))
        order = _order(template)
        plan = self.cloud.command("plan", *order)
        self.show.console.print(indented(plan_table(plan, self.references)))
        self.show.line(f"{words.size(plan['totalBytes'])} planned in all, from signatures alone")
        started = self.cloud.command("deploy", *order)
        self.show.line(f"ordered by {scenario.OWNER_NAME}, {scenario.PRIORITY}: {started['setId']}")
        return str(started["setId"]), plan

    def _watch(self, set_id: str) -> Watch:
        self.show.step("Building patches, sending bundles, rebuilding images; two processes are killed on the way")
        watch = Watch(*(self.cloud, self.fleet.devices, self.workspace, self.room, self.show, set_id, self.references))
        with self.show.transfers() as bars:
            watch.run(bars)
        return watch

    def _show_mail_and_manifests(self) -> None:
        self.show.step("What the owner reads, what the hubs hold")
        for mail in self.mail.mails():
            self.show.line(f"To: {mail.recipient}\n    Subject: {mail.subject}\n")
            self.show.line(mail.body.strip().replace("\n", "\n    ") + "\n")
        for name, device in self.fleet.devices.items():
            modules = self.hubs[device.ship.hub].twin(name, "$edgeAgent").desired.get("modules", {})
            for module, content in modules.items():
                self.show.line(
                    f"{device.ship.hub}/{name:<8} {module:<19} {words.short_image(content['settings']['image'])}"
                )

    def _record(self, watch: Watch, plan: Mapping[str, Any]) -> RunRecord:
        self.show.step("Reading everything back: SQL, blobs, hubs, mail, each device's own store")
        witnesses = Witnesses(
            *(self.cloud, self.hubs, self.fleet.devices, self.mail, self.blob_names, self.images),
        )
        downtimes = tuple(watch.downtimes)
        course = Course(watch.set_id, self.started, time.time(), plan, watch.kills, tuple(watch.events), downtimes)
        return read_back(witnesses, course)

    def _tell(self, record: RunRecord) -> bool:
        self.show.step("What came of it")
        self.show.console.print(indented(result_table(record)))
        self.show.line(
            "pull: what docker pull moves, the gzip layers that the device lacks; full: all layers, unpacked"
        )
        self.show.line("✓ its layers and config were hashed again in the device's own store")
        for device in record.already_present:
            self.show.line(f"{device} had everything: nothing was sent")
        checks = check_run(record, scenario.EXPECTED)
        _write_json(self.workspace.summary, record.summary())
        write_report(record, checks, self.workspace.report)
        self._tell_checks(checks)
        self.show.line(f"report   {self.workspace.report}")
        self.show.line(f"summary  {self.workspace.summary}")
        return all(check.held for check in checks)

    def _tell_checks(self, checks: tuple[Check, ...]) -> None:
        self.show.console.print()
        for check in checks:
            sign = "[green]✓[/green]" if check.held else "[bold red]✕[/bold red]"
            self.show.line(f"{sign} {check.claim}" + ("" if check.held else f": {check.seen}"))
        took = words.duration(time.time() - self.started)
        held = all(check.held for check in checks)
        verdict = "[bold green]Everything held[/bold green]" if held else "[bold red]Not everything held[/bold red]"
        self.show.console.print(f"\n{verdict} [dim]after {took}[/dim]")


def _settings(key: Path, smtp_port: int) -> dict[str, str]:
    """What the function app is told in the environment: hubs, key and mail; its sweep is quicker than by default."""
    return {
        "LOCAL_IOTHUBS": ",".join(scenario.HUBS),
        "IMAGEDELTA_SEAL_KEYS": str(key),
        "IMAGEDELTA_SMTP_HOST": "127.0.0.1",
        "IMAGEDELTA_SMTP_PORT": str(smtp_port),
        "IMAGEDELTA_MAIL_FROM": "imagedelta@fleet.example",
        "IMAGEDELTA_RECON_REFERENCE": RECON,
        "IMAGEDELTA_PREPARE_PATCHES": "false",  # so that what is built is what was ordered
        "TIMER_SCHEDULE": "*/2 * * * * *",
        "PYTHONUNBUFFERED": "1",
    } | {name: "" for name in ("IMAGEDELTA_STORAGE", "IMAGEDELTA_DATABASE_URL") if name in os.environ}


def _order(template: Path) -> list[str]:
    """Arguments of ``imagedelta plan`` and ``deploy``."""
    values = [argument for name, value in scenario.VALUES.items() for argument in ("--value", f"{name}={value}")]
    devices = [argument for ship in scenario.SHIPS for argument in ("--device", ship.device)]
    return [
        *("--name", scenario.SET_NAME, "--manifest", str(template), "--workstream", scenario.WORKSTREAM),
        *("--owner", scenario.OWNER_NAME, "--email", scenario.OWNER_EMAIL, "--priority", scenario.PRIORITY),
        *values,
        *devices,
    ]


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.rename(path)
