"""docs/settings.md names every setting that the code reads, with the default that the code has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_module.settings import settings_from_environment
from services.settings import load_settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line.startswith("| `")]
DEVICE = PAGE.index("## The module on a device")
NAME = re.compile(
    r"(IMAGEDELTA|LOCAL|PYTHON|FUNCTIONS|DOCKER|AZURE|APPLICATIONINSIGHTS|OTEL)_[A-Z0-9_]*[A-Z0-9]"
    r"|[A-Z]+_SCHEDULE|AzureWebJobs[A-Za-z]+|WEBSITE_AUTH_ENABLED"
)
READERS = (
    "activities",
    "contracts",
    "edge_module",
    "imagedelta",
    "imagedelta_cli",
    "imagedelta_host",
    "imagedelta_local",
)
READERS += ("orchestrators", "planning", "services", "store", "triggers", "function_app.py")


class Asked(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, *given: tuple[str, str]) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)


def named_in_code() -> Iterator[str]:
    for reader in READERS:
        for file in sorted((ROOT / reader).rglob("*.py")) if (ROOT / reader).is_dir() else [ROOT / reader]:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                    yield node.value


def on_page(name: str) -> bool:
    """A hub's variable is on the page with <NAME> in place of the hub's name."""
    return f"`{re.sub('_HUB_NORTH_|_IOTHUB_NORTH_', lambda found: found[0].replace('NORTH', '<NAME>'), name)}`" in PAGE


def defaults(row: list[str]) -> Iterator[tuple[str, str]]:
    """(variable, default) where the page gives the default as a value and not in words."""
    if value := re.fullmatch(r"`([^`]*)`", row[1]):
        yield row[0].strip("`"), value[1]


def test_every_name_in_the_code_is_on_the_page() -> None:
    names = set(named_in_code())

    assert len(names) > 40
    assert sorted(name for name in names if not on_page(name)) == []


def test_everything_that_the_settings_ask_for_is_on_the_page() -> None:
    hub = "HostName=h;SharedAccessKeyName=p;SharedAccessKey=a2V5"
    app = Asked(("LOCAL_BLOBS_DIR", "/x/blobs"), ("IMAGEDELTA_HUBS", "north"), ("IMAGEDELTA_HUB_NORTH_SERVICE", hub))
    device = Asked(("IMAGEDELTA_ROOT", "/x"))

    load_settings(app)
    settings_from_environment(device)

    assert len(app.names) > 20 and len(device.names) > 7
    assert sorted(name for name in app.names | device.names if not on_page(name)) == []


def test_no_setting_on_the_page_is_gone_from_the_code() -> None:
    names = {name for name in (row[0].strip("`") for row in ROWS) if "<NAME>" not in name}

    assert sorted(names - set(named_in_code())) == []


@pytest.mark.parametrize(("name", "value"), [pair for row in ROWS for pair in defaults(row)])
def test_a_default_on_the_page_is_the_default_of_the_code(name: str, value: str) -> None:
    app, device = ("LOCAL_BLOBS_DIR", "/x/blobs"), ("IMAGEDELTA_ROOT", "/x")
    if PAGE.index(f"| `{name}`") > DEVICE:
        assert settings_from_environment(dict([device, (name, value)])) == settings_from_environment(dict([device]))
    else:
        assert load_settings(dict([app, (name, value)])) == load_settings(dict([app]))
