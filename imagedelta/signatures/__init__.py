"""What is known of images without their bytes: file indexes of layers, and signatures of images."""

from imagedelta.signatures.index import FileEntry, LayerIndex, index_layer

__all__ = ["FileEntry", "LayerIndex", "index_layer"]
