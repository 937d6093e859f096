"""Codes of bundles, seals and keys, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "seal.missing": "Seal the bundle (imagedelta diff --key), or take one that the cloud composed.",
    "seal.unknown_key": "Give the device the public key the bundle is sealed with, or seal with one it trusts.",
    "keys.invalid": "Make a key pair with `imagedelta keys new`, and give the file it wrote.",
    "keys.exists": "Choose another name: a seal key is never overwritten.",
}
explain(REMEDIES)
