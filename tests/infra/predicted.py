"""What a deployment of infra/ would make, as the real compiler predicts it: `bicep snapshot`, which asks nobody."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SUBSCRIPTION, TENANT = "2" * 8 + "-2222-2222-2222-" + "2" * 12, "3" * 8 + "-3333-3333-3333-" + "3" * 12
LEAST: Mapping[str, object] = {
    "environmentName": "ships",
    "location": "westeurope",
    "principalId": "1" * 8 + "-1111-1111-1111-" + "1" * 12,
    "databaseAdminName": "ops",
}


@dataclass(frozen=True)
class Predicted:
    resources: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [each for each in self.resources if each["type"] == kind]

    def one(self, kind: str, end: str = "") -> Mapping[str, Any]:
        found = [each for each in self.of(kind) if each["name"].endswith(end)]
        assert len(found) == 1, f"{len(found)} of {kind} …{end}"
        return found[0]


def compiler() -> str:
    found = shutil.which(os.environ.get("BICEP", "bicep"))
    assert found, "no Bicep compiler: name it by BICEP=…, or put it on PATH (make check-infra)"
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    return subprocess.run(
        [compiler(), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _literal(value: object) -> str:
    """Bicep's words for it; none of the values here holds a quote."""
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"


SUFFIXES = {"storage": "core.windows.net", "sqlServerHostname": ".database.windows.net"}
"""What `environment()` says in Azure's public cloud; a prediction leaves it open."""


def _in_public_azure(text: str) -> str:
    return re.sub(
        r"format\('([^']*)\{0\}', environment\(\)\.suffixes\.(\w+)\)",
        lambda each: f"'{each[1]}{SUFFIXES[each[2]]}'",
        text,
    )


def predict(infra: Path, folder: Path, **parameters: object) -> Predicted:
    """Of the templates in ``infra``, with these parameters beside the least."""
    lines = [f"using '{os.path.relpath(infra, folder)}/main.bicep'"]
    for name, value in {**LEAST, **parameters}.items():
        lines.append(f"param {name} = {_literal(value)}")
    file = folder / "these.bicepparam"
    file.write_text("\n".join(lines) + "\n")
    where = ("--subscription-id", SUBSCRIPTION, "--tenant-id", TENANT, "--location", "westeurope")
    done = run("snapshot", file, "--mode", "overwrite", *where)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    found = json.loads(_in_public_azure((folder / "these.snapshot.json").read_text()))
    assert found["diagnostics"] == []
    return Predicted(found["predictedResources"], found["outputs"])
