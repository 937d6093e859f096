"""A team with its repositories, registries, deployment and devices, and Azure Pipelines to run it all."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from imagedelta_local.hub_service import HubService
from tests.e2e.archive_tools import skopeo_copy
from tests.e2e.cloud_process import CloudProcess
from tests.e2e.parts.device_process import DeviceProcess
from tests.e2e.parts.dockerd_process import DockerDaemon
from tests.e2e.parts.registry_process import RegistryProcess
from tests.images import an_image, docker_save
from tests.pipelines.agent import FAILED, SUCCEEDED, Run, Step, World, environment
from tests.pipelines.builds_api import BuildsApi
from tests.pipelines.pipelines import Pipeline
from tests.pipelines.repositories import Repository

HUB = "north"
ELSEWHERE = {
    "AzureCLI@2": "needs az, and a service connection of Azure",
    "ManualValidation@1": "is done by Azure Pipelines itself, and by a person",
    "scan_source": "needs a scanner and its database",
    "scan_base": "needs a scanner and its database",
    "dotnet": "needs the .NET SDK",
}
"""Steps that no test runs, all of them: tasks by their name, scripts by that of their step; and why."""
_CODE = random.Random(13).randbytes(400_000)
_TEXT = {"usr/lib/python3/text.py": b"text\n" * 5_000}
BASES = {
    tag: an_image({"usr/bin/python3": _CODE + tag.encode(), **_TEXT}, references=[f"base:{tag}"]) for tag in ("1", "2")
}


class Fleet:
    """A context manager."""

    def __init__(self, folder: Path, daemon: DockerDaemon, command_line: Path) -> None:
        self._folder = folder
        self._daemon = daemon
        self._command_line = command_line
        self._stack = ExitStack()
        self._build_id = 20300
        self.approves = True
        self.asked: list[str] = []
        """Instructions of each manual validation."""
        self.update = ""
        """Build id of an update, once one is built."""

    def __enter__(self) -> Fleet:
        with ExitStack() as stack:
            self.builds = stack.enter_context(BuildsApi())
            self.development = stack.enter_context(RegistryProcess(self._folder / "development"))
            self.production = stack.enter_context(RegistryProcess(self._folder / "production"))
            (self._folder / "cloud").mkdir()
            self.cloud = CloudProcess(
                self._folder / "cloud",
                IMAGEDELTA_REGISTRIES="development,production",
                IMAGEDELTA_REGISTRY_DEVELOPMENT_HOST=self.development.address,
                IMAGEDELTA_REGISTRY_PRODUCTION_HOST=self.production.address,
            )
            stack.callback(self.cloud.stop)
            self.hub = stack.enter_context(HubService(self.cloud.host.endpoint()["hubs"][HUB]))
            self.modules = Repository(self._folder / "modules", "modules")
            self.manifests = Repository(self._folder / "manifests", "manifests")
            self.world = self._world()
            self._push_bases()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _world(self) -> World:
        (self._folder / "runs").mkdir()
        home = self._folder / "home"
        (home / ".config/containers").mkdir(parents=True)
        plain = [
            f'[[registry]]\nlocation = "{one.address}"\ninsecure = true\n'
            for one in (self.development, self.production)
        ]
        (home / ".config/containers/registries.conf").write_text("".join(plain))
        group = {
            "baseImage": self.base("1"),
            "developmentRegistry": self.development.address,
            "productionRegistry": self.production.address,
            "IMAGEDELTA_URL": self.cloud.host.url,
            "IMAGEDELTA_AUDIENCE": "api://imagedelta",
        }
        stand_ins = {
            "AzureCLI@2": lambda step: SUCCEEDED,
            "ManualValidation@1": self._decide,
            "scan_source": lambda step: SUCCEEDED,
            "scan_base": lambda step: SUCCEEDED,
            "dotnet": self._publish,
        }
        assert set(stand_ins) == set(ELSEWHERE)
        return World(
            self._folder / "runs",
            self.builds,
            {
                "imagedelta": group,
                "imagedelta-development": {"iotHub": HUB},
                "imagedelta-production": {"iotHub": "south"},
            },
            host=environment(
                home,
                DOCKER_BUILDKIT="0",  # Debian has no buildx
                **self._daemon.env,
            ),
            # The embedded host takes a key where a deployment in Azure takes tokens of Entra ID.
            container=environment(home, self._command_line, IMAGEDELTA_KEY=self.cloud.host.endpoint()["key"]),
            elsewhere=stand_ins,
        )

    def _decide(self, step: Step) -> str:
        self.asked.append(step.inputs["instructions"])
        return SUCCEEDED if self.approves else FAILED

    def _publish(self, step: Step) -> str:
        """What `dotnet publish` leaves behind."""
        folder = step.cwd / step.env["FOLDER"] / step.env["MODULE"] / "publish"
        folder.mkdir()
        (folder / "TrackServer").write_bytes(_CODE[:100_000])
        return SUCCEEDED

    def base(self, tag: str) -> str:
        return f"{self.development.address}/base:{tag}"

    def _push_bases(self) -> None:
        for tag, image in BASES.items():
            archive = self._folder / f"base-{tag}.tar"
            archive.write_bytes(docker_save(image))
            skopeo_copy(f"docker-archive:{archive}", f"docker://{self.base(tag)}", "--dest-tls-verify=false")

    # What a test does

    def run(
        self,
        pipeline: Pipeline,
        *,
        reason: str = "Manual",
        branch: str = "refs/heads/main",
        who: str = "ada@example.org",
        wait_minutes: int = 0,
        **given: Any,
    ) -> Run:
        """Args:
        who: The mail address of who starts it.
        wait_minutes: Instead of the template's own.
        """
        repository = self.modules if pipeline.repository == "modules" else self.manifests
        own = repository.folder
        if wait_minutes:
            own = self._folder / f"waits-{wait_minutes}"
            own.mkdir(exist_ok=True)
            text = (repository.folder / pipeline.file).read_text()
            more = f"extends:\n  template: PIPE@templates\n  parameters:\n    waitMinutes: {wait_minutes}\n"
            old = f"extends:\n  template: pipelines/{pipeline.file}@templates\n  parameters:\n"
            assert old in text
            (own / pipeline.file).write_text(text.replace(old, more.replace("PIPE", f"pipelines/{pipeline.file}")))
        self._build_id += 1
        run = Run(
            self.world,
            pipeline.expanded(given, reason=reason, own=own),
            repository.folder,
            repository.head,
            Build_BuildId=str(self._build_id),
            Build_BuildNumber=str(self._build_id),
            Build_DefinitionName=pipeline.file.removesuffix(".yml"),
            Build_Reason=reason,
            Build_SourceBranch=branch,
            Build_RequestedForEmail=who,
            System_DefinitionId=pipeline.file,
        )
        return run.go()

    def references(self) -> set[str]:
        """Every name of every registered image."""
        return {name for item in self.cloud.items("/api/images") for name in item["references"]}

    def device(self, name: str) -> DeviceProcess:
        """A device that is enrolled and not started."""
        device = DeviceProcess(self._folder / name, self.hub, name, self.cloud.host.state / "seal.key.pub")
        self.cloud.call("PUT", f"/api/devices/{name}", 201, json={"hub": HUB})
        return device
