"""The YAML of pipelines/ and samples/: checked as Azure Pipelines would, and run as its agent would, without it."""
