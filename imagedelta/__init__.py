"""The engine: reads container images, plans, builds and applies what changed between them."""

__version__ = "0.1.0"
