"""Image archives: what docker, skopeo and containerd write, read within bounds and written deterministically."""

import imagedelta.archives.codes  # noqa: F401 - explains them
from imagedelta.archives.archive import Archive, open_archive
from imagedelta.archives.layout import OciLayout
from imagedelta.archives.model import Image, image_from_config, sha256_id
from imagedelta.archives.writing import write_docker_archive, write_oci_archive

__all__ = [
    "Archive",
    "Image",
    "OciLayout",
    "image_from_config",
    "open_archive",
    "sha256_id",
    "write_docker_archive",
    "write_oci_archive",
]
