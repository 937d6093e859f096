"""Applying patches, with nothing of the side that builds them.

``apply``        the story; the others follow in the order in which the data flows
``opening``      head, config and sources are checked, the streams opened
``tapes``        the decoded streams, read forward
``layer_maker``  items become layers
``scratch``      what that keeps on disk meanwhile
"""
