"""Our pipelines as teams use them: those of the sample repositories, and the templates that they extend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pipelines.templates import Source, expand

ROOT = Path(__file__).parents[2]
GROUPS = {
    "imagedelta": (
        *("baseImage", "developmentRegistry", "productionRegistry", "IMAGEDELTA_URL", "IMAGEDELTA_AUDIENCE"),
    ),
    "imagedelta-development": ("iotHub",),
    "imagedelta-production": ("iotHub",),
}
"""Variable groups as docs/pipelines.md asks for them."""


@dataclass(frozen=True)
class Pipeline:
    """One that a sample repository has."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"{self.repository}/{self.file}"

    def expanded(
        self,
        given: Mapping[str, Any] | None = None,
        *,
        reason: str = "Manual",
        own: Path | None = None,
        templates: Path | None = None,
    ) -> dict[str, Any]:
        """Args:
        own: The sample repository, where it is not the one in samples/.
        templates: The repository of the templates, where it is not this one.
        """
        source = Source(own or ROOT / "samples" / self.repository, templates=templates or ROOT)
        return expand(source, self.file, given or {}, {"Build.Reason": reason})


MODULES = Pipeline("modules", "azure-pipelines.yml")
IMAGES = Pipeline("manifests", "image-to-device.yml")
MANIFESTS = Pipeline("manifests", "manifest-to-device.yml")
ALL = (MODULES, IMAGES, MANIFESTS)


def variables_of_groups(document: Mapping[str, Any]) -> list[str]:
    """Names that the groups of an expanded pipeline define."""
    groups = [one["group"] for one in document["variables"] if "group" in one]
    return [name for group in groups for name in GROUPS[group]]
