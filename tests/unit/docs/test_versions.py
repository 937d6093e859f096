"""Python 3.11 to 3.13: which requirement is for which version and machine, and code that holds on all of them.

Whether the requirements can be installed there is asked of PyPI by scripts/check-versions.
"""

from __future__ import annotations

import ast
import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    if line and not line.startswith(("#", "./"))
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ROOMS = (
    "activities",
    "contracts",
    "edge_module",
    "imagedelta",
    "imagedelta_cli",
    "imagedelta_host",
    "imagedelta_local",
)
ROOMS += ("imagedelta_registry", "orchestrators", "planning", "services", "store", "triggers", "demo", "tests")
FILES = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))]
DURABLE_2 = {"DFApp", "RetryOptions", "OrchestrationRuntimeStatus"}
"""What the app uses of azure.durable_functions; all of it is in 2.x (2.0.0rc3), which has no ``models`` any more."""
GONE = {
    "aifc",
    "asynchat",
    "asyncore",
    "audioop",
    "cgi",
    "cgitb",
    "chunk",
    "crypt",
    "distutils",
    "imghdr",
    "imp",
    "lib2to3",
    "mailcap",
    "msilib",
    "nis",
    "nntplib",
    "ossaudiodev",
    "pipes",
    "pkg_resources",
    "setuptools",
    "smtpd",
    "sndhdr",
    "spwd",
    "sunau",
    "telnetlib",
    "uu",
    "xdrlib",
}
"""Modules that 3.12 and 3.13 no longer have, and those that a virtual environment of theirs has no more."""
DEPRECATED = {"utcnow", "utcfromtimestamp", "getdefaultlocale", "get_event_loop_policy", "set_event_loop_policy"}


def named(version: str, machine: str) -> Mapping[str, str]:
    """Canonical name -> pin, as pip reads requirements.txt there."""
    environment = {"python_version": version, "python_full_version": f"{version}.1", "platform_machine": machine}
    fitting = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]
    found = {str(canonicalize_name(pin.name)): str(pin.specifier) for pin in fitting}
    assert len(found) == len(fitting), "a package is named twice for one version"
    return found


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_each_version_and_machine_gets_what_there_is_for_it(version: str, machine: str) -> None:
    pins = named(version, machine)

    assert pins["azure-functions"].startswith("==2." if version == "3.13" else "==1.26.")
    assert pins["azure-functions-durable"].startswith("==1.7.")
    assert ("azure-iot-hub" in pins) == (machine == "x86_64")


def test_what_is_deployed_is_complete_and_lies_in_the_ranges_that_the_project_allows() -> None:
    extras = PROJECT["optional-dependencies"]
    ranges = [Requirement(text) for text in (*PROJECT["dependencies"], *extras["app"])]
    wanted = {canonicalize_name(Requirement(text).name) for text in extras["app"]}
    assert wanted <= {canonicalize_name(pin.name) for pin in PINS}
    for pin in PINS:
        ((operator, version),) = ((each.operator, each.version) for each in pin.specifier)
        assert operator == "=="
        fitting = [one for one in ranges if canonicalize_name(one.name) == canonicalize_name(pin.name)]
        assert fitting, pin.name
        assert any(one.specifier.contains(version) for one in fitting), pin


@pytest.mark.parametrize(
    "name", ["requirements.txt", "constraints.txt", "pyproject.toml", "tests/worker/requirements.txt"]
)
def test_the_name_that_nobody_has_registered_is_in_no_list_of_packages(name: str) -> None:
    """Samples list it; whoever registers it would have their code run wherever it is listed."""
    assert not re.search("azure[-_]durable[-_]functions", (ROOT / name).read_text("utf-8"), re.IGNORECASE)


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_no_file_uses_what_a_later_version_took_away_or_warns_of() -> None:
    assert len(FILES) > 500
    assert {found for file in FILES for found in _dated(file)} == set()


def _dated(file: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = compile(file.read_text("utf-8"), str(file), "exec", ast.PyCF_ONLY_AST)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    modules = {name.partition(".")[0] for name in imports(tree)}
    yield from (f"{file.name}: {name}" for name in (attributes & DEPRECATED) | (modules & GONE))


def test_the_app_uses_of_durable_functions_only_what_stays() -> None:
    used: set[str] = set()
    for file in (ROOT / "function_app.py", *(ROOT / "orchestrators").rglob("*.py"), *(ROOT / "triggers").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("azure.durable_functions"):
                assert node.module == "azure.durable_functions"
                used |= {alias.name for alias in node.names}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "df":
                used.add(node.attr)

    assert used == DURABLE_2
