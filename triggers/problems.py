"""Errors as application/problem+json: a stable code, a sentence, and what to do; never a traceback."""

from __future__ import annotations

import logging
from http import HTTPStatus

from contracts.responses import Problem
from imagedelta.errors import REMEDIES, ContentError, ImageDeltaError, RequestError

log = logging.getLogger(__name__)


def problem_of(error: Exception, instance: str) -> Problem:
    """What the caller is told of ``error``; what nobody foresaw is logged and called internal."""
    if isinstance(error, ImageDeltaError) and error.code != "internal":
        return _problem(_status(error), error.code, str(error), instance)
    log.error("unexpected error at %s", instance, exc_info=error)
    return _problem(500, "internal", "The request failed for a reason that was not foreseen.", instance)


def _status(error: ImageDeltaError) -> int:
    if error.code.startswith("settings."):
        return 500
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, ContentError):
        return 422
    return 503 if error.retryable else 500


def _problem(status: int, code: str, detail: str, instance: str) -> Problem:
    return Problem(
        type=f"urn:imagedelta:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        remedy=REMEDIES.get(code, REMEDIES["internal"]),
        instance=instance,
    )
