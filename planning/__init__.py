"""Decisions on plain data: which images are missing, which source, which class, which manifest. No I/O."""

import planning.codes  # noqa: F401 - explains them
