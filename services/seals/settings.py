"""Which keys seal bundles: files, keys in Azure Key Vault, and private keys as text in a setting."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from imagedelta.bundles.keys import private_key_from_pem, read_private_key
from imagedelta.errors import ImageDeltaError
from services.setting_values import Values

_PART = re.compile(r"https://[^/:,]+(?::\d+)?/[^:,]*|[^:,]+")
"""Of a list with colons or commas between."""
_VAULT_KEY = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?/keys/[A-Za-z0-9-]{1,127}/[0-9a-f]{32}")
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)


@dataclass(frozen=True)
class SealSettings:
    keys: tuple[Path | str, ...]
    """Preferred first: files of private keys, and addresses of keys in Key Vault."""
    texts: tuple[str, ...] = field(repr=False)
    """Private keys as PEM, preferred after those."""


def read_seal_settings(read: Values) -> SealSettings:
    return SealSettings(_keys(read), _texts(read))


def _keys(read: Values) -> tuple[Path | str, ...]:
    name = "IMAGEDELTA_SEAL_KEYS"
    keys: list[Path | str] = []
    if "@" in read.text(name):
        read.wrong(name, "holds an @, which neither the path of a key file nor the address of a vault's key has")
        return ()
    for part in _PART.findall(read.text(name)):
        if part.startswith("https://"):
            keys.append(part)
            if not _VAULT_KEY.fullmatch(part):
                read.wrong(
                    name,
                    f"holds {part[:150]!r}: a key in Key Vault is named with its version, "
                    "https://VAULT/keys/NAME/VERSION (az keyvault key show --query key.kid): "
                    "a new version is a key that no device trusts yet",
                )
            continue
        keys.append(Path(part))
        try:
            read_private_key(Path(part).absolute())  # for the message: it is looked for where the app lies
        except ImageDeltaError as error:
            read.wrong(name, f"cannot be used: {error}; `imagedelta keys new` makes a key file")
    return tuple(keys)


def _texts(read: Values) -> tuple[str, ...]:
    """Line breaks may be written as ``\\n``: some editors of settings take one line. Nothing of it is repeated."""
    name = "IMAGEDELTA_SEAL_KEY_PEM"
    text = read.text(name).replace("\\n", "\n")
    found = tuple(_PEM.findall(text))
    if text and not found:
        read.wrong(name, "holds no PEM: put the content of a file that `imagedelta keys new` made there")
    for number, pem in enumerate(found, 1):
        try:
            private_key_from_pem(pem.encode())
        except ImageDeltaError as error:
            read.wrong(name, f"holds a key, number {number}, that cannot be used: {error}")
    return found
