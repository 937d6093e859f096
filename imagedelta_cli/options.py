"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from imagedelta.bundles import PublicKey, read_trusted_keys
from imagedelta.errors import RequestError
from imagedelta.limits import DEFAULT_LIMITS, Limits, raised_limits
from imagedelta.names import is_host, parse_name
from imagedelta.platforms import parse_platform

_Command = TypeVar("_Command", bound=Callable[..., Any])
_INSECURE = "imagedelta.insecure_registries"
_LIMITS = "imagedelta.limits"


def _keep_insecure(context: click.Context, _parameter: click.Parameter, addresses: tuple[str, ...]) -> None:
    """Keep them with the invocation: registries are reached deep inside, where commands pass image arguments."""
    for address in addresses:
        if not is_host(address):
            raise RequestError(f"--insecure-registry {address}: not HOST or HOST:PORT")
    context.meta[_INSECURE] = frozenset(addresses)


def insecure_registries() -> frozenset[str]:
    """What ``--insecure-registry`` named in the command that runs."""
    context = click.get_current_context(silent=True)
    found: frozenset[str] = context.meta.get(_INSECURE, frozenset()) if context else frozenset()
    return found


def _keep_limits(context: click.Context, _parameter: click.Parameter, options: tuple[str, ...]) -> None:
    """Keep them with the invocation, as insecure registries are."""
    context.meta[_LIMITS] = raised_limits(options)


def limits_given() -> Limits:
    """The limits of reading images, as ``--limit`` raised them in the command that runs."""
    context = click.get_current_context(silent=True)
    found: Limits = context.meta.get(_LIMITS, DEFAULT_LIMITS) if context else DEFAULT_LIMITS
    return found


def checked_reference(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """A name to load an image under, checked before any work. Raises: RequestError ``request.image_name``."""
    if not given:
        return None
    name = parse_name(given)
    if name.digest:
        raise RequestError(f"{given!r} names a digest; an image is loaded under NAME:TAG", code="request.image_name")
    return str(name)


def checked_platform(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """A platform in the one spelling. Raises: RequestError ``request.platform``."""
    return parse_platform(given) if given else None


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line, last.")
_scratch_option = click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for unpacked layers; the system's temporary folder by default.",
)
insecure_option = click.option(
    "--insecure-registry",
    multiple=True,
    metavar="HOST[:PORT]",
    expose_value=False,
    is_eager=True,
    callback=_keep_insecure,
    help="A registry without TLS; repeatable. This machine's own needs no mention.",
)
_limit_option = click.option(
    "--limit",
    multiple=True,
    metavar="NAME=NUMBER",
    expose_value=False,
    is_eager=True,
    callback=_keep_limits,
    help="Raises a limit of reading images that an error named, e.g. window-bytes=512M; repeatable.",
)
source_option = click.option("--source", "sources", multiple=True, help="An image that is there already; repeatable.")
trust_option = click.option(
    "--trust",
    "trust_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of public keys: the bundle must be sealed by one of them.",
)


def image_options(command: _Command) -> _Command:
    """What commands that read images take: ``--scratch``, given as ``scratch``; the others are kept aside."""
    return _scratch_option(insecure_option(_limit_option(command)))


def trusted_of(trust_file: Path | None) -> dict[str, PublicKey] | None:
    """Return the keys of ``--trust``; ``None`` without it, so that no seal is checked."""
    return read_trusted_keys(trust_file) if trust_file else None


def pairs(texts: Iterable[str]) -> dict[str, Any]:
    """NAME=VALUE texts as a dict."""
    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        found[name] = value
    return found
