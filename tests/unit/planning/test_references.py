from __future__ import annotations

import pytest

from planning.references import local_name

DIGEST = "sha256:" + "a" * 64
LOCAL = "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("reference", "registry", "local_digest", "expected"),
    [
        ("fleet.example/a/app:2", "localhost:5000", LOCAL, f"localhost:5000/a/app@{LOCAL}"),
        ("fleet.example/a/app:2", "localhost:5000", None, "localhost:5000/a/app:2"),
        ("app", "localhost:5000", None, "localhost:5000/app:latest"),
        (f"fleet.example/app:2@{DIGEST}", "localhost:5000", None, "localhost:5000/app:2"),
        (f"fleet.example/app@{DIGEST}", "localhost:5000", None, f"localhost:5000/app@{DIGEST}"),
        ("fleet.example/app:2", None, LOCAL, "fleet.example/app:2"),
        (f"fleet.example/app:2@{DIGEST}", None, LOCAL, f"fleet.example/app@{DIGEST}"),
        ("app:2", None, None, "app:2"),
        ("docker.io/library/app:2", "localhost:5000", None, "localhost:5000/app:2"),
        ("library/app:2", "localhost:5000", None, "localhost:5000/app:2"),
    ],
)
def test_a_module_is_started_from_a_pinned_name(
    reference: str, registry: str | None, local_digest: str | None, expected: str
) -> None:
    assert local_name(reference, registry, local_digest) == expected
