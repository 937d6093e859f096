"""What is known of images without their bytes: file indexes of layers, and signatures of images."""

from imagedelta.signatures.index import FileEntry, LayerIndex, index_layer
from imagedelta.signatures.signature import Signature, sign, size_bound

__all__ = ["FileEntry", "LayerIndex", "Signature", "index_layer", "sign", "size_bound"]
