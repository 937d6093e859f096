"""Whose fault is it? Every kind of error, spoken of what is sealed, of bytes on their way, and of this device."""

from __future__ import annotations

import pytest

from edge_module.verdict import Refused, Subject, Wait, verdict_of
from imagedelta.errors import (
    ContentError,
    DependencyError,
    DigestMismatch,
    LimitExceeded,
    RequestError,
    SealError,
    SourceMissing,
    Truncated,
    UnsupportedFormat,
)

ABOUT_BYTES = [
    ContentError("x"),
    Truncated("x"),
    LimitExceeded("x"),
    DigestMismatch("x"),
    UnsupportedFormat("x"),
    SourceMissing("x"),
]
OF_THE_DEVICE = [
    (DependencyError("x", code="disk.full"), "disk.full"),
    (DependencyError("x"), "dependency.unavailable"),
    (RequestError("x", code="device.unknown_image"), "device.unknown_image"),
    (OSError("x"), "disk.failing"),
    (ZeroDivisionError("x"), "internal"),
    (MemoryError("x"), "internal"),
    (RecursionError("x"), "internal"),
    (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "internal"),
]


@pytest.mark.parametrize("error", ABOUT_BYTES, ids=lambda error: type(error).__name__)
def test_content_is_refused_only_when_it_is_what_was_sealed(error: ContentError) -> None:
    assert verdict_of(error, "sealed") == Refused(error)
    assert verdict_of(error, "bytes") == Wait("bundle.incomplete", "x")
    assert verdict_of(error, "device") == Wait("engine.damaged", "x")


@pytest.mark.parametrize(("error", "code"), OF_THE_DEVICE, ids=lambda each: str(each)[:30])
@pytest.mark.parametrize("subject", ["sealed", "bytes", "device"])
def test_what_hinders_this_device_waits_whatever_it_was_about(error: Exception, code: str, subject: Subject) -> None:
    verdict = verdict_of(error, subject)

    assert isinstance(verdict, Wait)
    assert verdict.code == code


def test_a_seal_that_fails_over_a_whole_head_is_final() -> None:
    error = SealError("x", code="seal.unknown_key")

    assert verdict_of(error, "bytes") == Refused(error)
