"""The embedded host refuses at start what Azure refuses, and says so in the words of Microsoft's worker."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagedelta_host.errors import AppInvalid
from imagedelta_host.indexing import refuse_what_azure_refuses
from imagedelta_host.loader import load_app
from tests.worker.azure_worker import ROOT, refusals, verdicts

APPS = ROOT / "tests" / "apps"
HEAD = """
import azure.durable_functions as df
import azure.functions as func
from typing import Any, Dict, List, Optional
app = df.DFApp()
"""
WEB = '@app.route(route="x")\n'
CLOCK = '@app.timer_trigger(arg_name="t", schedule="0 * * * * *")\n'
STEP = '@app.activity_trigger(input_name="p")\n'
HUB = '@app.event_hub_message_trigger(arg_name="e", event_hub_name="h", connection="C")\n'

BAD_APPS = {
    "a parametrised built-in type": STEP + "def f(p: dict[str, Any]): ...",
    "an optional type": STEP + "def f(p: Optional[int]): ...",
    "a union": STEP + "def f(p: int | None): ...",
    "a batch annotated with list[…]": HUB + "def f(e: list[func.EventHubEvent]): ...",
    "a request that is an integer": WEB + "def f(req: int) -> str: ...",
    "a request annotated with a typing alias": WEB + "def f(req: Dict[str, int]) -> str: ...",
    "a timer that is a request": CLOCK + "def f(t: func.HttpRequest) -> None: ...",
    "an input that is declared as output": WEB + "def f(req: func.Out[str]) -> str: ...",
    "an annotation that names nothing": STEP + 'def f(p: "Nowhere"): ...',
    "a context of another type": WEB + "def f(req: func.HttpRequest, context: int) -> str: ...",
    "an answer that is a dict": WEB + "def f(req: func.HttpRequest) -> dict: ...",
    "an answer that is parametrised": WEB + "def f(req: func.HttpRequest) -> List[str]: ...",
    "a parameter that nothing is bound to": CLOCK + "def f(t: func.TimerRequest, extra: str) -> None: ...",
    "a parameter with a default that nothing is bound to": STEP + "def f(p, extra=1): ...",
    "a binding without its parameter": WEB + "def f(request: func.HttpRequest) -> str: ...",
    "a binding without any parameter": CLOCK + "def f() -> None: ...",
    "parameters that nobody can bind": STEP + "def f(p, *rest): ...",
    "an output that is not declared as one": WEB
    + '@app.blob_output(arg_name="out", path="c/b", connection="C")\n'
    + "def f(req: func.HttpRequest, out: str) -> str: ...",
    "a retry interval below a second": CLOCK
    + '@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="00:00:00.5")\n'
    + "def f(t: func.TimerRequest) -> None: ...",
    "a retry strategy that does not exist": CLOCK
    + '@app.retry(strategy="linear", max_retry_count="1")\n'
    + "def f(t: func.TimerRequest) -> None: ...",
    "a fixed delay without its delay": CLOCK
    + '@app.retry(strategy="fixed_delay", max_retry_count="1")\n'
    + "def f(t: func.TimerRequest) -> None: ...",
    "a number of retries that is none": CLOCK
    + '@app.retry(strategy="exponential_backoff", max_retry_count="many")\n'
    + "def f(t: func.TimerRequest) -> None: ...",
    "two functions of one name": CLOCK + "def f(t): ...\n" + CLOCK + "def f(t): ...",
    "two names that are one": "@app.function_name('f')\n" + CLOCK + "def g(t): ...\n" + CLOCK + "def f(t): ...",
    "a function without a trigger": '@app.durable_client_input(client_name="c")\ndef f(c): ...',
    "two apps": "other = func.FunctionApp()",
    "one app under two names": "other = app",
    "no app": "del app",
    "a module that does not exist": "import no_such_module",
    "an import that raises": "raise RuntimeError('not today')",
    "two triggers": WEB + CLOCK + "def f(req, t): ...",
}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty app folder; what loading it changes in this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("function_app", None)


@pytest.fixture(scope="module")
def bad_apps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str | None]]:
    """Each bad app by what is wrong: its folder, and how the worker refuses it."""
    folder = tmp_path_factory.mktemp("bad")
    folders = {what: folder / str(number) for number, what in enumerate(BAD_APPS)}
    for what, place in folders.items():
        place.mkdir()
        (place / "function_app.py").write_text(HEAD + BAD_APPS[what])
    said = refusals(*folders.values())
    return {what: (place, said[place]) for what, place in folders.items()}


@pytest.mark.parametrize("what", BAD_APPS)
def test_what_the_worker_refuses_is_refused_in_its_words(
    app: Path, bad_apps: dict[str, tuple[Path, str | None]], what: str
) -> None:
    folder, said = bad_apps[what]

    assert said is not None
    with pytest.raises(AppInvalid) as caught:
        load_app(folder)
    assert _sentence(said) in str(caught.value)


def _sentence(said: str) -> str:
    """Without the type of the error and without advice about requirements.txt."""
    return said.partition(": ")[2].partition(". Cannot find module.")[0]


def verdict(function: Any) -> str | None:
    try:
        refuse_what_azure_refuses([function])
    except AppInvalid as error:
        return str(error)
    return None


def test_every_annotation_at_every_place_is_judged_alike() -> None:
    by_worker = verdicts(APPS / "annotations")

    ours = runpy.run_path(str(APPS / "annotations" / "function_app.py"), run_name="function_app")["app"].get_functions()
    by_us = {function.get_function_name(): verdict(function) for function in ours}

    assert {name for name in by_worker if not _alike(by_worker[name], by_us[name])} == set()
    assert by_worker.keys() == by_us.keys()
    assert 100 < sum(said is None for said in by_worker.values()) < len(by_worker) - 700


def _alike(theirs: str | None, ours: str | None) -> bool:
    """Both take it, or we refuse it in their words (addresses in memory differ between processes)."""
    if theirs is None or ours is None:
        return theirs is ours
    return theirs in ours


@pytest.mark.parametrize(
    "name", ["1st", "_private", "host", "HOST", "with space", "dot.ted", "größe", "x" * 129, "a\n"]
)
def test_a_name_that_the_functions_host_refuses_is_refused(app: Path, name: str) -> None:
    (app / "function_app.py").write_text(f"{HEAD}@app.function_name({name!r})\n{CLOCK}def f(t): ...")

    with pytest.raises(AppInvalid, match="is not a valid function name"):
        load_app(app)


@pytest.mark.parametrize("name", ["f", "F-1_x", "hosts", "x" * 128])
def test_a_name_that_the_functions_host_takes_is_taken(app: Path, name: str) -> None:
    (app / "function_app.py").write_text(f"{HEAD}@app.function_name({name!r})\n{CLOCK}def f(t): ...")

    assert [function.name for function in load_app(app)] == [name]


def test_names_that_differ_in_case_alone_are_refused(app: Path) -> None:
    (app / "function_app.py").write_text(f"{HEAD}{CLOCK}def tick(t): ...\n{CLOCK}def Tick(t): ...")

    with pytest.raises(AppInvalid, match="tick and Tick are one"):
        load_app(app)


def test_a_function_that_is_switched_off_is_held_to_the_same_rules(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AzureWebJobs.f.Disabled", "true")
    (app / "function_app.py").write_text(HEAD + BAD_APPS["a union"])

    with pytest.raises(AppInvalid, match="invalid non-type annotation"):
        load_app(app)


def test_the_apps_of_the_tests_are_taken_by_the_worker() -> None:
    apps = [app for app in APPS.iterdir() if app.name not in ("annotations", "broken")]

    assert len(apps) > 4
    assert refusals(*apps) == dict.fromkeys(apps)
