"""The OCI image layout: ``index.json`` leads through manifests to configs and layers, by digest.

Docker >= 25, containerd, skopeo, buildah and BuildKit write it, as a folder or in a tar.

Source: OCI image-spec 1.1, image-layout.md, image-index.md, manifest.md; annotations.md for the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagedelta.archives.findings import Findings, Located, WholeArchiveError
from imagedelta.archives.json_reading import field_of, parse_object
from imagedelta.archives.model import hex_of, image_from_config, platform_in, require_digest, sha256_id
from imagedelta.archives.stores import Store, missing, read_document
from imagedelta.errors import ContentError, DigestMismatch, LimitExceeded, UnsupportedFormat
from imagedelta.limits import Limits, over_limit
from imagedelta.names import archive_name
from imagedelta.platforms import NOTHING_STATED, Stated

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
FULL_NAME_ANNOTATION = "io.containerd.image.name"
INDEX_TYPES = (INDEX_TYPE, DOCKER_INDEX_TYPE)
MANIFEST_TYPES = (MANIFEST_TYPE, DOCKER_MANIFEST_TYPE)
CONFIG_TYPES = (CONFIG_TYPE, DOCKER_CONFIG_TYPE)
_LAYER_TYPES = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
_ENCRYPTED = "+encrypted"
_MAX_NESTING = 3


def blob_name(digest: str) -> str:
    """Return where a layout keeps the blob with this digest."""
    return f"blobs/sha256/{hex_of(digest)}"


def read_oci(store: Store, limits: Limits, findings: Findings) -> None:
    """Add the images that ``index.json`` leads to, in its order.

    Images that were found already, by image ID, keep their layers: Docker 25 writes manifests without layers for
    them, so its ``manifest.json`` is the one to believe. Whatever is no image, cannot be read or was not saved (other
    platforms of an image index) is passed over.

    Raises:
        ContentError: The index itself is malformed.
        LimitExceeded: It is too large, or leads to too many manifests.
    """
    _Reader(store, limits, findings).read()


def entry_name(descriptor: Mapping[str, Any]) -> str:
    """What an entry of an index calls its image, in the one spelling; "" for no name, or one that is none."""
    return next(filter(None, (archive_name(text) for text in _noted_names(descriptor))), "")


def without_names(annotations: Mapping[str, Any]) -> dict[str, Any]:
    """Annotations without those that name an image."""
    return {key: value for key, value in annotations.items() if key not in (FULL_NAME_ANNOTATION, NAME_ANNOTATION)}


def foreign_kind(manifest: Mapping[str, Any]) -> str | None:
    """Return what a manifest describes instead of an image, by media type; ``None`` for an image.

    Signatures and attestations have an image's config, but no layers of files.

    Raises:
        UnsupportedFormat: Its layers are encrypted.
    """
    config, layers = field_of(manifest, "config"), field_of(manifest, "layers")
    config_type = field_of(config, "mediaType") if isinstance(config, dict) else None
    if config_type not in CONFIG_TYPES:
        return str(field_of(manifest, "artifactType") or config_type)
    for layer in layers if isinstance(layers, list) else ():
        kind = field_of(layer, "mediaType") if isinstance(layer, dict) else None
        if isinstance(kind, str) and kind.endswith(_ENCRYPTED):
            raise UnsupportedFormat("its layers are encrypted", code="content.encrypted")
        if kind and not str(kind).startswith(_LAYER_TYPES):
            return str(kind)
    return None


def is_attestation(descriptor: Mapping[str, Any]) -> bool:
    """BuildKit stores provenance as a manifest beside the image's, marked by an annotation."""
    return _annotations(descriptor).get("vnd.docker.reference.type") == "attestation-manifest"


def platform_stated(descriptor: Mapping[str, Any]) -> Stated:
    """Read what an entry of an index says of its image's platform. Raises: ContentError for what is no word."""
    platform = field_of(descriptor, "platform")
    return platform_in(platform, "platform of a descriptor") if isinstance(platform, dict) else NOTHING_STATED


class _Reader:
    def __init__(self, store: Store, limits: Limits, findings: Findings) -> None:
        self._store = store
        self._limits = limits
        self._known = {located.image.image_id: place for place, located in enumerate(findings.images)}
        self._findings = findings
        self._descriptors = 0

    def read(self) -> None:
        data = read_document(self._store, INDEX_FILE, self._limits)
        self._follow_all(parse_object(data, INDEX_FILE), INDEX_FILE, (), _MAX_NESTING)

    def _follow_all(self, index: dict[str, Any], what: str, names: tuple[str, ...], depth: int) -> None:
        children = field_of(index, "manifests") or []
        if not isinstance(children, list):
            raise ContentError(f"{what}: manifests is not a list of descriptors")
        self._descriptors += len(children)
        if self._descriptors > self._limits.max_archive_images:
            raise WholeArchiveError(
                str(over_limit(f"{what} leads to {self._descriptors} manifests", "archive-images", self._limits)),
                code="content.limit_exceeded",
            )
        for number, child in enumerate(children, 1):
            with self._findings.passing_over(_title(child, f"entry {number} of {what}")):
                self._follow(child, names, depth)

    def _follow(self, descriptor: Any, names: tuple[str, ...], depth: int) -> None:
        if not isinstance(descriptor, dict):
            raise ContentError(f"{str(descriptor)[:100]!r} is no descriptor")
        if is_attestation(descriptor):
            self._findings.foreign(_title(descriptor, "entry"), "an attestation")
            return
        names = _noted_names(descriptor) or names
        kind = field_of(descriptor, "mediaType")
        if kind and kind not in (*INDEX_TYPES, *MANIFEST_TYPES):
            self._findings.foreign(_title(descriptor, "entry"), str(kind))
            return
        document = self._document(descriptor)
        if kind in INDEX_TYPES or (not kind and field_of(document, "manifests") is not None):
            if depth == 0:
                raise LimitExceeded(f"image indexes nested more than {_MAX_NESTING} deep")
            self._follow_all(document, "image index", names, depth - 1)
            return
        self._image(descriptor, document, names)

    def _image(self, descriptor: dict[str, Any], manifest: dict[str, Any], names: tuple[str, ...]) -> None:
        foreign = foreign_kind(manifest)
        if foreign is not None:
            self._findings.foreign(_title(descriptor, "entry"), foreign)
            return
        config, layers = field_of(manifest, "config"), field_of(manifest, "layers") or []
        stated = platform_stated(descriptor)
        if _digest(config) in self._known:
            self._restate(self._known[_digest(config)], stated)
            return
        image = image_from_config(self._blob(config, self._limits.max_config_bytes), names, self._limits, stated)
        if not isinstance(layers, list) or len(layers) != len(image.diff_ids):
            raise ContentError(f"its manifest does not have the {len(image.diff_ids)} layers that its config names")
        located = Located(image, tuple(blob_name(_digest(layer)) for layer in layers), tuple(map(_size, layers)))
        for name in located.layers:
            if not self._store.has(name):
                raise missing(name)
        self._findings.add(located)

    def _restate(self, place: int, descriptor: Stated) -> None:
        """Let the index say of an image of ``manifest.json`` what its config leaves out."""
        located = self._findings.images[place]
        names = (*located.image.references, *located.image.labels)
        image = image_from_config(located.image.config, names, self._limits, descriptor)
        self._findings.images[place] = Located(image, located.layers, located.sizes)

    def _document(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        data = self._blob(descriptor, self._limits.max_manifest_bytes)
        return parse_object(data, f"manifest {_digest(descriptor)}")

    def _blob(self, descriptor: object, limit: int) -> bytes:
        digest = _digest(descriptor)
        data = self._store.read_small(blob_name(digest), limit)
        if sha256_id(data) != digest:
            raise DigestMismatch(f"blob {digest} has the bytes of {sha256_id(data)}")
        return data


def _digest(descriptor: object) -> str:
    return require_digest(field_of(descriptor, "digest") if isinstance(descriptor, dict) else None, "descriptor")


def _size(descriptor: Mapping[str, Any]) -> int | None:
    size = field_of(descriptor, "size")
    return size if isinstance(size, int) else None


def _title(descriptor: Any, place: str) -> str:
    """How a person finds an entry: by name, else by digest, else by where it is."""
    if not isinstance(descriptor, dict):
        return place
    return next(iter(_noted_names(descriptor)), "") or str(field_of(descriptor, "digest") or place)[:100]


def _noted_names(descriptor: Mapping[str, Any]) -> tuple[str, ...]:
    """The full name that containerd notes, else the reference, which other tools use for either."""
    annotations = _annotations(descriptor)
    name = annotations.get(FULL_NAME_ANNOTATION) or annotations.get(NAME_ANNOTATION)
    return (name[:1000],) if isinstance(name, str) and name else ()


def _annotations(descriptor: Mapping[str, Any]) -> dict[str, Any]:
    annotations = field_of(descriptor, "annotations")
    return annotations if isinstance(annotations, dict) else {}
