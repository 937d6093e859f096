"""Deflate streams inside files, found, inflated and made again: the same rule in cloud and device."""
