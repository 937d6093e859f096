"""Which failures of a step are final. One rule for the steps that record a failure and for their binding."""

from __future__ import annotations

from imagedelta.errors import DependencyError, ImageDeltaError

_MAX_DETAIL = 500


def final_failure(error: Exception) -> tuple[str, str]:
    """Code and detail of a failure that no repetition heals.

    An error that nobody foresaw is final too (code ``internal``): repeating a defect helps nobody, and what waits
    for the step must not wait for ever. A disk of this machine that is full or failing is not a defect.

    Raises: ``error`` itself, or DependencyError ``dependency.scratch``, when trying again can help.
    """
    if isinstance(error, ImageDeltaError):
        if error.retryable:
            raise error
        return error.code, str(error)
    if isinstance(error, OSError):
        raise DependencyError(f"{type(error).__name__}: {error}", code="dependency.scratch") from error
    return "internal", f"{type(error).__name__}: {error}"[:_MAX_DETAIL]
