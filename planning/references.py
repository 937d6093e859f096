"""Image references: registry host, repository, tag and digest.

Source: the reference grammar of github.com/distribution/reference.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageName:
    """``host/path:tag@digest``, taken apart; ``host`` is "" for a name without registry."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """The last part of the path: ``app`` of ``fleet.example/propulsion/app:2``."""
        return self.path.rpartition("/")[2]


def parse_name(reference: str) -> ImageName:
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if has_host else ("", name)
    path, _, tag = path.partition(":")
    return ImageName(host, path, tag, digest)


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
