"""Applying a patch: all that a device needs, with nothing of the building side."""
