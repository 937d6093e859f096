"""Typed values of environment variables. What is wrong is collected, so that it is told once and all of it.

An empty variable is one that is not set.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path

from imagedelta.errors import RequestError
from services.masking import masked

_PREFIX = "IMAGEDELTA_"
_MAX_NUMBER = 1 << 53
_MAX_SECONDS = 10 * 366 * 86_400
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_HOSTS = ("AzureWebJobsStorage", "LOCAL_IOTHUB_")
"""Of settings that the host or a trigger reads: the app works without them no more than with its own."""
_REFERENCE = "@microsoft.keyvault("
_NEARLY = 0.88
"""How alike names must be for one to be a slip of the other. Devices and tools have variables of the same prefix."""


@dataclass
class Values:
    """Reads an environment.

    Attributes:
        env: Names to texts.
        problems: What was wrong so far, a sentence each, which names the variable and what to do.
        known: Every name that was asked for.
    """

    env: Mapping[str, str]
    problems: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def wrong(self, name: str, why: str) -> None:
        """Note a problem; ``why`` goes on after the name. A login or a signature that it repeats is hidden."""
        self.problems.append(f"{name} {masked(why)}")

    def text(self, name: str, default: str = "") -> str:
        self.known.add(name)
        return self.env.get(name) or default

    def number(self, name: str, default: int, *, least: int = 1, most: int = _MAX_NUMBER) -> int:
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
            self.wrong(name, f"must be a whole number from {least} to {most}, not {text[:40]!r}")
            return default
        return int(text)

    def seconds(self, name: str, default: int) -> timedelta:
        return timedelta(seconds=self.number(name, default, most=_MAX_SECONDS))

    def truth(self, name: str) -> bool:
        """False when it is not set."""
        text = self.text(name, "false")
        if text.lower() not in _TRUTHS:
            self.wrong(name, f"must be true or false, not {text[:40]!r}")
        return _TRUTHS.get(text.lower(), False)

    def choice(self, name: str, default: str, among: Collection[str]) -> str:
        text = self.text(name, default)
        if text not in among:
            self.wrong(name, f"must be one of {', '.join(among)}, not {text[:40]!r}")
        return text

    def base64(self, name: str) -> str:
        """The text as it is; empty when it is not set."""
        text = self.text(name)
        try:
            base64.b64decode(text, validate=True)
        except ValueError:
            self.wrong(name, "must be base64")
        return text

    def paths(self, name: str) -> tuple[Path, ...]:
        return tuple(Path(part) for part in self.text(name).split(os.pathsep) if part)

    def refuse(self) -> None:
        """Raises: RequestError ``settings.invalid`` with every problem, also names that are slips of a setting's."""
        self._note_references()
        self._note_slips()
        if self.problems:
            many = f"{len(self.problems)} settings are wrong: " if len(self.problems) > 1 else ""
            raise RequestError(many + "; ".join(self.problems), code="settings.invalid")

    def _note_references(self) -> None:
        """The platform puts the secret in the place of a reference before the app starts, or leaves it as it is.

        Source: learn.microsoft.com, "Use Key Vault references as app settings", which a reference is and its failures.
        """
        for name in sorted(self.env):
            ours = name in self.known or name.startswith((_PREFIX, *_HOSTS))
            if ours and self.env[name].lstrip().lower().startswith(_REFERENCE):
                self.wrong(
                    name,
                    "is a reference to Key Vault that was not resolved: look at its status in the portal (Environment "
                    "variables), give the app's identity the role Key Vault Secrets User, and name the secret as "
                    "@Microsoft.KeyVault(SecretUri=https://VAULT.vault.azure.net/secrets/NAME)",
                )

    def _note_slips(self) -> None:
        known = {name.removeprefix(_PREFIX): name for name in self.known if name.startswith(_PREFIX)}
        for name in sorted(self.env.keys() - self.known):
            if name.startswith(_PREFIX) and not name.startswith(f"{_PREFIX}HUB_"):
                for meant in get_close_matches(name.removeprefix(_PREFIX), known, 1, _NEARLY):
                    self.wrong(name, f"is no setting: {known[meant]} is")
