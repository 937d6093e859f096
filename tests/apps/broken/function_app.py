"""An app that fails to import."""

raise RuntimeError("not today")
