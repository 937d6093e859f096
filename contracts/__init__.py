import contracts.codes  # noqa: F401 - explains them
