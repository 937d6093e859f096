"""Tells of an engine that runs hot."""
