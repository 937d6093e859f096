import triggers.codes  # noqa: F401 - explains them
