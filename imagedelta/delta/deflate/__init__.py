"""Deflate streams inside files, found, inflated and made again: the same rule in cloud and device.

``folds``                      the words and limits
``fold_search``, ``unfolding`` from a file to its unfolded form
``folding``                    and back
``fold_list``                  folds as numbers of a patch
``self_test``                  whether this machine's zlib can do it
"""
