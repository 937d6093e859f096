"""What holds of every adapter of the port ``Blobs``."""
