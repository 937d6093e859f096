import imagedelta_cli.codes  # noqa: F401 - explains them
