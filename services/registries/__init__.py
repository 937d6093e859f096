"""Registries that images are taken in from, and which devices they may feed."""
