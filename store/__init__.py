import store.codes  # noqa: F401 - explains them
