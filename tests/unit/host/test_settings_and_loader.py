"""What the host reads before it serves: host.json, local settings, the app and its bindings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagedelta.errors import RequestError
from imagedelta_host.errors import AppInvalid, BindingUnsupported, SettingInvalid
from imagedelta_host.function_retry import RetryPolicy
from imagedelta_host.loader import load_app
from imagedelta_host.logs import configure_logging
from imagedelta_host.settings import apply_local_settings, expand, is_disabled, load_host_settings
from imagedelta_host.timespans import is_timespan, seconds_of


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty app folder; what loading it changes in this process is undone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("function_app", None)


def write_app(folder: Path, body: str) -> None:
    (folder / "function_app.py").write_text("import azure.functions as func\napp = func.FunctionApp()\n" + body)


# host.json


def test_without_host_json_the_defaults_of_the_real_host_hold(tmp_path: Path) -> None:
    settings = load_host_settings(tmp_path)

    assert (settings.route_prefix, settings.event_batch, settings.replace_running) == ("api", 100, False)


def test_limits_prefix_and_hub_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB", "mine")
    (tmp_path / "host.json").write_text(
        '{"extensions": {"http": {"routePrefix": ""}, "eventHubs": {"maxEventBatchSize": 7}, "durableTask": '
        '{"hubName": "%HUB%", "maxConcurrentActivityFunctions": 3, "overridableExistingInstanceStates": "AnyState"}}}'
    )

    settings = load_host_settings(tmp_path)

    assert (settings.route_prefix, settings.hub_name, settings.event_batch) == ("", "mine", 7)
    assert (settings.max_activities, settings.replace_running) == (3, True)


def test_comments_and_last_commas_are_passed_over_as_by_the_real_host(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(
        """// of the team
{ /* all of
     it */ "version": "2.0", // see http://docs
  "extensions": {"http": {"routePrefix": "a//b/*c*/,]\\"}"},
    "eventHubs": {"maxEventBatchSize": 7, /* enough */ }, },
}"""
    )

    settings = load_host_settings(tmp_path)

    assert (settings.route_prefix, settings.event_batch) == ('a//b/*c*/,]"}', 7)


def test_a_mistake_after_a_comment_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{ /* one\ntwo */\n "a": oops }')

    with pytest.raises(SettingInvalid, match="line 3"):
        load_host_settings(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "{ /* }", '{"a": "// }', '{"a" 1 /* , */ }', "[]", "[" * 100_000, "\xff"),
        *('{"extensions": 1}', '{"functionTimeout": "soon"}', '{"functionTimeout": {}}'),
        '{"extensions": {"durableTask": {"maxConcurrentActivityFunctions": "many"}}}',
        '{"extensions": {"durableTask": {"overridableExistingInstanceStates": "Sometimes"}}}',
        '{"extensions": {"http": {"routePrefix": 7}}}',
        *(
            f'{{"extensions": {{"durableTask": {{"hubName": "{name}"}}}}}}'
            for name in ("", "a", "1st", "a-b", "x" * 46)
        ),
    ],
)
def test_a_host_json_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "host.json").write_text(text, "latin-1")

    with pytest.raises(SettingInvalid, match=r"host\.json"):
        load_host_settings(tmp_path)


def test_null_in_host_json_is_the_same_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text(
        '{"functionTimeout": null, "extensions": {"http": {"routePrefix": null}, "eventHubs": null,'
        ' "durableTask": {"hubName": null, "maxConcurrentActivityFunctions": null}}}'
    )

    assert load_host_settings(tmp_path) == load_host_settings(tmp_path / "nowhere")


def test_a_log_level_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEDELTA_HOST_LOG", "verbose")

    with pytest.raises(SettingInvalid, match="IMAGEDELTA_HOST_LOG must be one of"):
        configure_logging()


# Settings


def test_local_settings_do_not_override_the_environment(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text('{"Values": {"A": "file", "B": "file", "C": true, "D": 7}}')
    environ = {"A": "environment"}

    apply_local_settings(tmp_path, environ)

    assert environ == {"A": "environment", "B": "file", "C": "true", "D": "7"}


def test_the_sample_of_the_settings_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "local.settings.sample.json").write_text('{"Values": {"A": "sample"}}')
    environ: dict[str, str] = {}

    apply_local_settings(tmp_path, environ)

    assert environ == {}


def test_a_percent_name_is_replaced_and_a_missing_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICK", "0 * * * * *")

    assert expand("%TICK%") == "0 * * * * *"
    assert expand("a%TICK%b 100%") == "a0 * * * * *b 100%"
    with pytest.raises(SettingInvalid, match="NOWHERE"):
        expand("%NOWHERE%")


@pytest.mark.parametrize("name", ["AzureWebJobs.f.Disabled", "AzureWebJobs_f_Disabled"])
def test_a_function_is_disabled_by_its_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not is_disabled("f")

    monkeypatch.setenv(name, "True")

    assert is_disabled("f")
    assert not is_disabled("g")


@pytest.mark.parametrize(("text", "seconds"), [("00:00:10", 10), ("1.02:03:04", 93784), ("00:00:00.5", 0.5)])
def test_time_spans_are_read_as_dotnet_writes_them(text: str, seconds: float) -> None:
    assert is_timespan(text)
    assert seconds_of(text) == seconds


# Retry policies


def test_a_fixed_delay_is_the_same_each_time_and_ends() -> None:
    policy = RetryPolicy.from_setting({"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:00:05"})

    assert policy is not None
    assert [policy.delay(n) for n in (1, 2, 3)] == [5, 5, None]


def test_a_backoff_doubles_up_to_its_maximum_and_may_go_on_for_ever() -> None:
    policy = RetryPolicy.from_setting(
        {
            "strategy": "exponential_backoff",
            "max_retry_count": "-1",
            "minimum_interval": "00:00:02",
            "maximum_interval": "00:00:09",
        }
    )

    assert policy is not None
    assert [policy.delay(n) for n in (1, 2, 3, 4, 10_000)] == [2, 4, 8, 9, 9]


def test_a_backoff_needs_no_intervals() -> None:
    policy = RetryPolicy.from_setting({"strategy": "exponential_backoff", "max_retry_count": "2"})

    assert policy is not None
    assert [policy.delay(n) for n in (1, 2, 3)] == [0, 0, None]


def test_a_fixed_delay_without_its_interval_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="delay_interval"):
        RetryPolicy.from_setting({"strategy": "fixed_delay", "max_retry_count": "1"})


# The app


def test_what_the_app_itself_refuses_is_told_as_it_is(app: Path) -> None:
    write_app(
        app, "from imagedelta.errors import RequestError\nraise RequestError('X is wrong', code='settings.invalid')"
    )

    with pytest.raises(RequestError, match=r"^X is wrong$") as caught:
        load_app(app)
    assert caught.value.code == "settings.invalid"


def test_functions_are_indexed_with_their_trigger(app: Path) -> None:
    write_app(
        app,
        """
@app.route(route="a/{b}")
async def web(req: func.HttpRequest) -> str:
    return ""

@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")
@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="00:00:01")
def clock(t: func.TimerRequest, context: func.Context) -> None: ...
""",
    )

    functions = {function.name: function for function in load_app(app)}

    assert (functions["web"].kind, functions["web"].is_async, functions["web"].parameter) == (
        "httpTrigger",
        True,
        "req",
    )
    assert functions["clock"].wants_context
    assert functions["clock"].retry == RetryPolicy(1, 1.0, 1.0)


def test_a_binding_that_is_not_served_is_refused_by_name(app: Path) -> None:
    write_app(
        app,
        """
@app.route(route="a")
@app.blob_output(arg_name="out", path="c/b", connection="S")
def web(req: func.HttpRequest, out: func.Out[str]) -> str:
    return ""
""",
    )

    with pytest.raises(BindingUnsupported, match="the function web uses the binding blob"):
        load_app(app)


def test_a_disabled_function_may_use_any_binding_and_settings_that_do_not_exist(
    app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AzureWebJobs.drain.Disabled", "true")
    write_app(
        app,
        """
@app.queue_trigger(arg_name="m", queue_name="%NOT_SET%", connection="S")
def drain(m: func.QueueMessage) -> None: ...

@app.route(route="a")
def web(req: func.HttpRequest) -> str:
    return ""
""",
    )

    assert [(function.name, function.disabled) for function in load_app(app)] == [("drain", True), ("web", False)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('boom')", "fails to import: ValueError: boom"),
        (
            "other = func.FunctionApp()",
            "More than one FunctionApp or other top level function app instances are defined.",
        ),
        ("del app", "Could not find top level function app instances in function_app.py."),
    ],
)
def test_an_app_that_cannot_be_indexed_is_refused(app: Path, body: str, words: str) -> None:
    write_app(app, body)

    with pytest.raises(AppInvalid, match=words):
        load_app(app)


def test_two_activities_of_one_name_are_refused(app: Path) -> None:
    (app / "function_app.py").write_text(
        """
import azure.durable_functions as df
app = df.DFApp()

@app.activity_trigger(input_name="p", activity="same")
def one(p): ...

@app.activity_trigger(input_name="p", activity="same")
def two(p): ...
"""
    )

    with pytest.raises(AppInvalid, match="two functions are called same"):
        load_app(app)


def test_nothing_before_the_embedded_host_authenticates_so_nothing_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "local.settings.json").write_text('{"Values": {"WEBSITE_AUTH_ENABLED": "true"}}')
    environ = {"WEBSITE_INSTANCE_ID": "x"}

    apply_local_settings(tmp_path, environ)

    assert "WEBSITE_AUTH_ENABLED" not in environ
    assert "WEBSITE_AUTH_ENABLED was taken away" in caplog.text
