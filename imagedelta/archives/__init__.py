"""Image archives: what docker, skopeo and containerd write, read within bounds and written deterministically."""

from imagedelta.archives.archive import Archive, open_archive
from imagedelta.archives.model import Image, image_from_config, sha256_id

__all__ = ["Archive", "Image", "image_from_config", "open_archive", "sha256_id"]
