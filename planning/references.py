"""The name that a module on a device is started from."""

from __future__ import annotations

from imagedelta.names import parse_name


def local_name(reference: str, registry_address: str | None, local_digest: str | None) -> str:
    """What a module on the device is started from: the local registry's name, pinned.

    By digest when the device reported one, else by the (unique) tag. edgeAgent rejects a name with both. The
    local registry has other digests than the one the image came from, so a digest of the reference counts only
    where no local registry is, or where there is no tag.
    """
    name = parse_name(reference)
    local = local_digest or ("" if name.tag else name.digest)
    digest = local if registry_address else name.digest
    host = registry_address or name.host
    pin = f"@{digest}" if digest else f":{name.tag or 'latest'}"
    return f"{host}/{name.path}{pin}" if host else f"{name.path}{pin}"
