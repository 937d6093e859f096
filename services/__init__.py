import services.codes  # noqa: F401 - explains them
