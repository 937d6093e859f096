"""Which installation this registry is: a random id in an artifact of its own, which goes with the registry's disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from edge_module.damage import read_own
from edge_module.engines.registry_client import Manifest, RegistryClient, Unreadable
from edge_module.engines.registry_names import INSTALLATION
from edge_module.engines.registry_upload import put_blob
from edge_module.files import Files, write_atomically
from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import require_digest, sha256_id
from imagedelta.archives.oci import MANIFEST_TYPE
from imagedelta.errors import ContentError

_TAG = "current"
_FOLDER = "registry"
_COPY = f"{_FOLDER}/installation.json"
_TYPE = "application/vnd.imagedelta.installation.v1+json"
_MAX_BYTES = 4096
_MAX_ID = 64
log = logging.getLogger("imagedelta.registry")


def installation_of(client: RegistryClient, files: Files, new_id: Callable[[], str]) -> str:
    """The id that the registry keeps; one without is a new one. A damaged one is mended from the module's copy."""
    copy = _identifier(read_own(files, _COPY, _MAX_BYTES) or b"")
    try:
        found = _read(client)
        if found is None:
            found = _write(client, new_id())
    except (ContentError, Unreadable) as error:
        log.error("the registry's record of its installation is damaged: %s", error)
        found = _write(client, copy or new_id())
    if found != copy:
        log.info("this registry is installation %s", found)
        files.make_folders(_FOLDER)
        write_atomically(files, _COPY, _record(found))
    return found


def _read(client: RegistryClient) -> str | None:
    """None when there is none. Raises: ContentError, Unreadable: it is damaged."""
    manifest = client.manifest(INSTALLATION, _TAG)
    if manifest is None:
        return None
    config = field_of(parse_object(manifest.data, "installation"), "config")
    digest = require_digest(field_of(config, "digest") if isinstance(config, dict) else None, "installation")
    found = _identifier(client.read_small(INSTALLATION, digest, _MAX_BYTES) or b"")
    if found is None:
        raise ContentError(f"blob {digest} holds no id")
    return found


def _identifier(record: bytes) -> str | None:
    try:
        found = parse_object(record, "installation").get("installationId")
    except ContentError:
        return None
    return found if isinstance(found, str) and 0 < len(found) <= _MAX_ID else None


def _record(installation_id: str) -> bytes:
    return json.dumps({"installationId": installation_id}).encode()


def _write(client: RegistryClient, installation_id: str) -> str:
    record = _record(installation_id)
    put_blob(client, INSTALLATION, sha256_id(record), record)
    config = {"mediaType": _TYPE, "digest": sha256_id(record), "size": len(record)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}
    data = json.dumps(document, sort_keys=True).encode()
    client.put_manifest(INSTALLATION, _TAG, Manifest(sha256_id(data), MANIFEST_TYPE, data))
    return installation_id
