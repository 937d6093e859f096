"""The OCI image layout: ``index.json`` leads through manifests to configs and layers, by digest.

Docker >= 25, containerd, skopeo, buildah and BuildKit write it, as a folder or in a tar.

Source: OCI image-spec 1.1, image-layout.md, image-index.md, manifest.md; annotations.md for the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagedelta.archives.docker_save import Located
from imagedelta.archives.json_reading import parse_object
from imagedelta.archives.model import hex_of, image_from_config, require_digest, sha256_id
from imagedelta.archives.stores import Store, missing, read_small
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded
from imagedelta.limits import Limits

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
FULL_NAME_ANNOTATION = "io.containerd.image.name"
_INDEX_TYPES = (INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFEST_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
_CONFIG_TYPES = (CONFIG_TYPE, "application/vnd.docker.container.image.v1+json")
_MAX_NESTING = 3


def blob_name(digest: str) -> str:
    """Return where a layout keeps the blob with this digest."""
    return f"blobs/sha256/{hex_of(digest)}"


def read_oci(store: Store, limits: Limits, known: Mapping[str, Located]) -> list[Located]:
    """Return the images that ``index.json`` leads to, in its order.

    Images that are ``known`` already, by image ID, are taken as they are: Docker 25 writes manifests without
    layers for them, so its ``manifest.json`` is the one to believe.

    Artifacts that are no images (attestations, signatures of other tools) are passed over. So are
    platforms of a multi-platform image that are not in the archive, as long as one platform is.

    Raises:
        DigestMismatch: A manifest or config is not what its digest says.
        ContentError: Malformed, or a blob is missing.
        LimitExceeded: A document or a count is over its limit.
    """
    return _Reader(store, limits, known).images()


class _Reader:
    def __init__(self, store: Store, limits: Limits, known: Mapping[str, Located]) -> None:
        self._store = store
        self._limits = limits
        self._known = known
        self._descriptors = 0

    def images(self) -> list[Located]:
        data = read_small(self._store, INDEX_FILE, self._limits.max_manifest_bytes)
        found: list[Located] = []
        for descriptor in self._children(parse_object(data, INDEX_FILE), INDEX_FILE):
            found += self._follow(descriptor, _names(descriptor), _MAX_NESTING)
        return found

    def _follow(self, descriptor: dict[str, Any], names: tuple[str, ...], depth: int) -> list[Located]:
        if _is_attestation(descriptor):
            return []
        media_type = descriptor.get("mediaType")
        if media_type in _INDEX_TYPES:
            return self._platforms(descriptor, names, depth)
        if media_type in _MANIFEST_TYPES:
            return self._image(descriptor, names)
        return []

    def _platforms(self, descriptor: dict[str, Any], names: tuple[str, ...], depth: int) -> list[Located]:
        if depth == 0:
            raise LimitExceeded(f"image indexes nested more than {_MAX_NESTING} deep")
        found: list[Located] = []
        absent: ContentError | None = None
        for child in self._children(self._document(descriptor), "image index"):
            try:
                found += self._follow(child, names, depth - 1)
            except ContentError as error:
                if error.code != "content.blob_missing":
                    raise
                absent = error
        if absent and not found:
            raise absent
        return found

    def _image(self, descriptor: dict[str, Any], names: tuple[str, ...]) -> list[Located]:
        manifest = self._document(descriptor)
        config, layers = manifest.get("config"), manifest.get("layers") or []
        if not isinstance(config, dict) or not isinstance(layers, list):
            raise ContentError("image manifest: config or layers is malformed")
        if config.get("mediaType") not in _CONFIG_TYPES:
            return []
        if _digest(config) in self._known:
            return [self._known[_digest(config)]]
        image = image_from_config(self._blob(config, self._limits.max_config_bytes), names, self._limits)
        if len(layers) != len(image.diff_ids):
            raise ContentError(f"image manifest: {len(layers)} layers, the config has {len(image.diff_ids)}")
        located = Located(image, tuple(blob_name(_digest(layer)) for layer in layers))
        for name in located.layers:
            if not self._store.has(name):
                raise missing(name)
        return [located]

    def _document(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        data = self._blob(descriptor, self._limits.max_manifest_bytes)
        return parse_object(data, f"manifest {_digest(descriptor)}")

    def _blob(self, descriptor: dict[str, Any], limit: int) -> bytes:
        digest = _digest(descriptor)
        data = read_small(self._store, blob_name(digest), limit)
        if sha256_id(data) != digest:
            raise DigestMismatch(f"blob {digest} has the bytes of {sha256_id(data)}")
        return data

    def _children(self, index: dict[str, Any], what: str) -> list[dict[str, Any]]:
        children = index.get("manifests") or []
        if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
            raise ContentError(f"{what}: manifests is not a list of descriptors")
        self._descriptors += len(children)
        if self._descriptors > self._limits.max_archive_images:
            raise LimitExceeded(f"{what}: more than {self._limits.max_archive_images} manifests")
        return children


def _digest(descriptor: object) -> str:
    value = descriptor.get("digest") if isinstance(descriptor, dict) else descriptor
    return require_digest(value, "descriptor")


def _names(descriptor: dict[str, Any]) -> tuple[str, ...]:
    """The full name that containerd notes, else the reference, which other tools use for either."""
    annotations = _annotations(descriptor)
    name = annotations.get(FULL_NAME_ANNOTATION) or annotations.get(NAME_ANNOTATION)
    return (name,) if isinstance(name, str) and name else ()


def _annotations(descriptor: dict[str, Any]) -> dict[str, Any]:
    annotations = descriptor.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    """BuildKit stores provenance as a manifest beside the image's, marked by an annotation."""
    return _annotations(descriptor).get("vnd.docker.reference.type") == "attestation-manifest"
