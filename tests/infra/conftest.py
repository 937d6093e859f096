from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.infra.predicted import ROOT, Predicted, predict

Deployed = Callable[..., Predicted]
DEFAULTS: dict[str, object] = {"kind": "dev", "privateNetwork": False}


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """What would be there with the given parameters; each combination is compiled once."""

    @cache
    def once(parameters: tuple[tuple[str, object], ...]) -> Predicted:
        return predict(ROOT / "infra", tmp_path_factory.mktemp("infra"), **dict(parameters))

    def of(**parameters: object) -> Predicted:
        return once(tuple(sorted((DEFAULTS | parameters).items(), key=str)))

    return of


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    """A copy of the templates, to be spoilt."""
    return shutil.copytree(ROOT / "infra", tmp_path / "infra")
