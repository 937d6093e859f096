"""Start deployment sets, watch them, and decide what an operator has to decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from imagedelta.archives.json_reading import parse_object
from imagedelta.errors import REMEDIES, ContentError, RequestError
from imagedelta_cli.api_client import Api, Problem, segment
from imagedelta_cli.api_options import host_command, limit_option, show_items, show_one, wait_for
from imagedelta_cli.cells import field, sentence, when
from imagedelta_cli.commands.devices import pairs
from imagedelta_cli.output import progress
from imagedelta_cli.set_texts import DETAILS, LIST, MEMBERS, PLAN, plan_remarks, plan_rows, progress_of, remarks
from imagedelta_cli.stopping import when_stopped
from imagedelta_cli.tables import Column
from imagedelta_cli.terminal import say, say_json

_MAX_MANIFEST_BYTES = 1 << 20
_SHOWN = 20
"""Members that are shown with their set."""
TERMINAL = ("completed", "completed_with_failures", "failed", "cancelled", "superseded")

_MEMBER: tuple[Column, ...] = (
    ("device", field("deviceId")),
    ("state", field("state")),
    ("code", field("code")),
    ("detail", field("detail")),
)
_EVENTS: tuple[Column, ...] = (
    ("AT", when("at")),
    ("KIND", field("kind")),
    ("SUBJECT", field("subject")),
    ("FROM", field("old")),
    ("TO", field("new")),
    ("BY", field("who")),
    ("CODE", field("code")),
    ("DETAIL", sentence("detail")),
)


_timeout_option = click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait.")


@click.group(help=__doc__)
def command() -> None:
    pass


def order_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a deployment set is made of; the command receives it as ``order``, the request's body."""
    options = (
        click.option("--name", required=True, help="What people will call this set."),
        click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
        click.option("--image", "images", multiple=True, help="name:tag instead of a manifest; several times."),
        click.option("--value", "values", multiple=True, metavar="NAME=VALUE", help="What ${NAME} stands for."),
        click.option("--device", "devices", multiple=True, help="Device id; several times."),
        click.option("--query", help="Instead of devices, e.g. \"tags.site = 'north'\"."),
        click.option("--owner", required=True, metavar="NAME", help="Name of the person who is told."),
        click.option("--email", required=True, help="Mail address of that person."),
        click.option("--workstream", default="default", show_default=True),
        click.option("--priority", type=click.Choice(["urgent", "normal", "background"])),
        click.option("--release", type=click.Choice(["set", "device", "manual"]), default="set", show_default=True),
        click.option(
            "--release-by",
            type=click.Choice(["auto", "device", "condition"]),
            default="auto",
            show_default=True,
            help="Write manifests to each device, or lay one deployment by target condition over all.",
        ),
        click.option("--canary", "canaries", multiple=True, help="Device that goes first; several times."),
        click.option("--deadline", help="UTC, e.g. 2030-01-31T12:00:00Z; the owner is told when it passes."),
        click.option("--max-bytes", type=int, help="Of the set; above it approval is asked for."),
        click.option("--max-bytes-per-device", type=int),
        click.option("--no-full-bundles", is_flag=True, help="Ask for approval where only a full image would help."),
    )

    def run(*args: Any, **kwargs: Any) -> Any:
        names = {option for option in _ORDER_KEYS if option in kwargs}
        order = _order(**{name: kwargs.pop(name) for name in names})
        return function(*args, order=order, **kwargs)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = run
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


_ORDER_KEYS = (
    *("name", "manifest", "images", "values", "devices", "query", "owner", "email", "workstream", "priority"),
    *("release", "release_by", "canaries", "deadline", "max_bytes", "max_bytes_per_device", "no_full_bundles"),
)


@command.command("plan")
@order_options
@host_command
def plan(api: Api, order: dict[str, Any], as_json: bool) -> None:
    """Say what a set would move, per device, before anything is sent."""
    with progress("Planning the set"):
        planned = api.post("deployment-sets", order, dryRun="true")
    if as_json:
        say_json(planned)
        return
    show_items(plan_rows(planned), PLAN, as_json=False)
    say()
    for line in plan_remarks(planned):
        say(line)


@command.command("start")
@order_options
@click.option("--wait", is_flag=True, help="Wait until it has ended, as sets wait does.")
@_timeout_option
@host_command
def start(api: Api, order: dict[str, Any], wait: bool, timeout: float, as_json: bool) -> None:
    """Start a deployment set."""
    started = api.post("deployment-sets", order)
    if wait:
        _show_ended(api, started["setId"], (), timeout, as_json)
    else:
        show_one(started, DETAILS, as_json)


@command.command("show")
@click.argument("set_id")
@host_command
def show(api: Api, set_id: str, as_json: bool) -> None:
    """Show a set and its first members: what it waits for, what it costs, what to do next."""
    path = f"deployment-sets/{segment(set_id)}"
    found = api.get(path)
    show_one(found, DETAILS, as_json)
    if as_json:
        return
    for line in remarks(found):
        say(line)
    say()
    show_items(api.pages(f"{path}/members", most=_SHOWN), MEMBERS, as_json=False)
    if (more := sum(found["memberStates"].values()) - _SHOWN) > 0:
        say(f"{more:,} more: imagedelta sets members {set_id} --limit {more + _SHOWN}")


@command.command("members")
@click.argument("set_id")
@click.option("--state", help="Only members in this state.")
@limit_option
@host_command
def members(api: Api, set_id: str, state: str | None, limit: int, as_json: bool) -> None:
    """List the devices of a set, by id."""
    show_items(api.pages(f"deployment-sets/{segment(set_id)}/members", most=limit, state=state), MEMBERS, as_json)


@command.command("list")
@click.option("--owner", help="Only of this owner, by mail address.")
@click.option("--state", help="Only in this state.")
@click.option("--workstream", help="Only of this workstream.")
@limit_option
@host_command
def list_(api: Api, owner: str | None, state: str | None, workstream: str | None, limit: int, as_json: bool) -> None:
    """List deployment sets."""
    wanted = {"owner": owner, "state": state, "workstream": workstream}
    show_items(api.pages("deployment-sets", most=limit, **wanted), LIST, as_json)


@command.command("events")
@click.argument("set_id")
@limit_option
@host_command
def events(api: Api, set_id: str, limit: int, as_json: bool) -> None:
    """Everything that happened to a set, oldest first."""
    show_items(api.pages(f"deployment-sets/{segment(set_id)}/events", most=limit), _EVENTS, as_json)


@command.command("wait")
@click.argument("set_id")
@click.option("--until", multiple=True, help="Stop at this state too; a set that has ended always stops it.")
@_timeout_option
@host_command
def wait(api: Api, set_id: str, until: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Wait until a set has ended; exit code 0 only if it completed, or reached a state of --until."""
    _show_ended(api, set_id, until, timeout, as_json)


@command.command("rollback")
@click.argument("set_id")
@click.option("--name", help="Of the new set.")
@host_command
def rollback(api: Api, set_id: str, name: str | None, as_json: bool) -> None:
    """Start a new set with what the devices ran before SET_ID."""
    body = {"name": name} if name else {}
    show_one(api.post(f"deployment-sets/{segment(set_id)}/rollback", body), DETAILS, as_json)


def _show_ended(api: Api, set_id: str, until: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Wait, tell on stderr what happens, and show how it ended. Raises: Problem when it ended badly."""
    with when_stopped(f"The set goes on without you: imagedelta sets show {set_id}"):
        found = wait_for(
            lambda: api.get(f"deployment-sets/{segment(set_id)}"),
            lambda item: item["state"] in (*TERMINAL, *until),
            timeout=timeout,
            tell=progress_of,
        )
    show_one(found, DETAILS, as_json)
    if found["state"] not in ("completed", *until):
        code = found["code"] or "set.not_completed"
        detail = f"{set_id} is {found['state']}" + (f": {found['detail']}" if found["detail"] else "")
        raise Problem(detail, code, found["remedy"] or REMEDIES["set.not_completed"], retryable=False)


def _action(name: str, help_text: str) -> None:
    @command.command(name, help=help_text)
    @click.argument("set_id")
    @host_command
    def act(api: Api, set_id: str, as_json: bool) -> None:
        show_one(api.post(f"deployment-sets/{segment(set_id)}/{name}"), DETAILS, as_json)


def _member_action(name: str, help_text: str) -> None:
    @command.command(name, help=help_text)
    @click.argument("set_id")
    @click.argument("device_id")
    @host_command
    def act(api: Api, set_id: str, device_id: str, as_json: bool) -> None:
        path = f"deployment-sets/{segment(set_id)}/members/{segment(device_id)}/{name}"
        show_one(api.post(path), _MEMBER, as_json)


_action("approve", "Approve a set that waits because of its cost.")
_action("cancel", "Cancel a set; bundles that no other set needs are withdrawn.")
_action("release", "Release a set of the policy manual.")
_action("promote", "Release to all devices after the canaries.")
_member_action("exclude", "Go on without a device.")
_member_action("retry", "Try a failed device again.")
_member_action("rebase", "Release over what someone else has set meanwhile.")
_member_action("skip", "Leave a device in conflict as it is.")


def _order(
    *,
    name: str,
    manifest: Path | None,
    images: tuple[str, ...],
    values: tuple[str, ...],
    devices: tuple[str, ...],
    query: str | None,
    owner: str,
    email: str,
    no_full_bundles: bool,
    canaries: tuple[str, ...],
    **plain: Any,
) -> dict[str, Any]:
    if bool(devices) == bool(query):
        raise click.UsageError("Name the devices, either with --device or with --query.")
    if (manifest is None) == (not images):
        raise click.UsageError("Name the images, either with --manifest or with --image.")
    optional = {
        "manifest": _read_manifest(manifest) if manifest else None,
        "images": list(images) or None,
        "values": pairs(values) or None,
        "canaries": list(canaries) or None,
        "priority": plain["priority"],
        "deadline": plain["deadline"],
        "maxBytes": plain["max_bytes"],
        "maxBytesPerDevice": plain["max_bytes_per_device"],
    }
    return {
        "name": name,
        "workstream": plain["workstream"],
        "owner": {"name": owner, "email": email},
        "devices": {"query": query} if query else {"ids": list(devices)},
        "release": plain["release"],
        "releaseBy": plain["release_by"],
        "allowFullBundles": not no_full_bundles,
    } | {key: value for key, value in optional.items() if value is not None}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from error
    if len(data) > _MAX_MANIFEST_BYTES:
        raise RequestError(f"{path} has more than {_MAX_MANIFEST_BYTES} bytes")
    try:
        return parse_object(data, str(path))
    except ContentError as error:
        raise RequestError(str(error)) from error
