"""The rules by which a storage account deletes blobs: a net below the cleaning of the app, over nothing for keeps.

Source: learn.microsoft.com, "Lifecycle management policies", policy definition: rules with filters and actions, at most
10 prefixes a rule; a prefix begins with a container's name, ``name/`` is that container alone, ``name`` is every one
that begins so (MicrosoftDocs/azure-docs#90880); without a prefix a rule is for the whole account.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.purge import BLOBS
from contracts.outbox import outbox_container
from services.ports import OWN_CONTAINERS
from store.retained.patches import PATCHES

RULES: list[dict[str, Any]] = json.loads((Path(__file__).parents[3] / "infra/storage-lifecycle.json").read_text())[
    "rules"
]
KEPT = sorted(OWN_CONTAINERS - {"patches", "scratch"})
HOST = ["azure-webjobs-hosts", "azure-webjobs-secrets", "app-package-fleet", "insights-logs", "$logs", "imagedelta-x"]


def deleted_after(blob: str) -> timedelta | None:
    """By the first to fall due of the rules that apply to ``container/name``."""
    ages = [
        rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
        for rule in RULES
        if rule["enabled"] and any(blob.startswith(prefix) for prefix in rule["definition"]["filters"]["prefixMatch"])
    ]
    return timedelta(days=min(ages)) if ages else None


def test_rules_are_of_the_shape_that_the_account_takes() -> None:
    assert len({rule["name"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.keys() == {"name", "enabled", "type", "definition"}
        assert (rule["type"], rule["name"].isalnum()) == ("Lifecycle", True)
        assert rule["definition"].keys() == {"filters", "actions"}
        filters = rule["definition"]["filters"]
        assert filters["blobTypes"] == ["blockBlob"]
        assert 1 <= len(filters["prefixMatch"]) <= 10, "without a prefix it is for the whole account"
        assert all(prefix and prefix[0] not in "*/" for prefix in filters["prefixMatch"])
        assert rule["definition"]["actions"].keys() == {"baseBlob"}
        assert rule["definition"]["actions"]["baseBlob"].keys() == {"delete"}


@pytest.mark.parametrize("container", [*KEPT, "intake", *HOST])
def test_no_rule_ever_takes_what_is_for_keeps_or_of_others(container: str) -> None:
    assert KEPT == ["indexes", "layers", "signatures"]
    for name in ("0" * 64, "patches", "scratch", "outbox-ship", ""):
        assert deleted_after(f"{container}/{name}") is None


@pytest.mark.parametrize("container", ["patches-of-others", "scratch2", "outboxes", "patchesx"])
def test_a_container_whose_name_only_begins_alike_is_left_alone(container: str) -> None:
    assert deleted_after(f"{container}/{'0' * 64}") is None


def test_rules_come_long_after_the_app_has_cleaned_up_itself() -> None:
    assert deleted_after("scratch/build.1") == timedelta(days=14) > BLOBS["scratch"]
    assert deleted_after(f"patches/{'0' * 64}") == timedelta(days=400) > PATCHES
    a_device_18_months_behind = timedelta(days=550)
    assert deleted_after(f"{outbox_container('ship 1')}/1-a.bundle") == timedelta(days=750) > a_device_18_months_behind
