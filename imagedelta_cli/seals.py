"""What commands say of a bundle's seal: whether there is one, whose, and whether that was checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagedelta.bundles import OpenedBundle
from imagedelta_cli.terminal import say


def seal_fields(opened: OpenedBundle) -> dict[str, Any]:
    """``sealedBy`` and ``sealChecked`` of the result."""
    return {"sealedBy": opened.sealed_by, "sealChecked": opened.seal_checked}


def say_seal(opened: OpenedBundle, trust_file: Path | None) -> None:
    """Tell people on stderr what the two fields mean: a name in a seal that nobody checked proves nothing."""
    if opened.sealed_by is None:
        say("The bundle is not sealed: anybody may have made it, and no device takes it.", err=True)
    elif opened.seal_checked:
        say(f"Sealed by key {opened.sealed_by}, checked against {trust_file}.", err=True)
    else:
        say(f"Sealed by key {opened.sealed_by}, it says; not checked against a trusted key.", err=True)
        say("To check it: --trust FILE, with the public keys that you trust.", err=True)
