"""Rules of the local blob storage: names, ranges, access and lists."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta_local.blobs.access import AccessRefused, require, sign
from imagedelta_local.blobs.listing import list_page, to_xml
from imagedelta_local.blobs.names import BadName, blob_file
from imagedelta_local.blobs.ranges import RangeOutside, byte_range

KEY = "a2V5LW9mLXRoZS10ZXN0cw=="
ROOT = Path("/store/blobs")


# Names


@given(st.text(max_size=40), st.text(max_size=60))
def test_no_name_leads_out_of_its_container(container: str, name: str) -> None:
    try:
        path = blob_file(ROOT, container, name)
    except BadName:
        return
    assert path.relative_to(ROOT / container).parts == tuple(name.split("/"))
    assert ".." not in path.parts


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "a/.b", "a.tmp", "a\\b", "a\0", "x" * 256]
)
def test_names_that_could_harm_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        blob_file(ROOT, "outbox", name)


@pytest.mark.parametrize("container", ["", "ab", "Outbox", "-ab", "ab-", "a--b", "a.b", "..", "x" * 64])
def test_container_names_follow_the_rules_of_azure(container: str) -> None:
    with pytest.raises(BadName):
        blob_file(ROOT, container, "a")


# Ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)),
        ("bytes=3-99", (3, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=5-3", None),
        ("bytes=0-1,4-5", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_a_range_is_read_as_http_says(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=11-12", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(RangeOutside):
        byte_range(header, 10)


# Access


def access(permissions: str = "r", resource: str = "b", blob: str = "a/b", seconds: int = 60) -> dict[str, str]:
    expiry = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
    name = blob if resource == "b" else ""
    signature = sign(KEY, permissions, expiry, resource, "outbox", name)
    return {"sp": permissions, "se": expiry, "sr": resource, "sig": signature}


def test_a_signature_opens_its_blob_or_its_container() -> None:
    require(KEY, access(), "r", "outbox", "a/b")
    require(KEY, access(resource="c"), "r", "outbox", "any")
    require(KEY, access("rwc"), "wc", "outbox", "a/b")


@pytest.mark.parametrize(
    ("query", "needed", "container", "blob"),
    [
        ({}, "r", "outbox", "a/b"),
        (access(), "w", "outbox", "a/b"),
        (access(), "r", "outbox", "other"),
        (access(), "r", "inbox", "a/b"),
        (access(seconds=-1), "r", "outbox", "a/b"),
        ({**access(), "sp": "rw"}, "r", "outbox", "a/b"),
        ({**access(), "se": "2999-01-01T00:00:00Z"}, "r", "outbox", "a/b"),
        ({**access(), "sr": "c"}, "r", "outbox", "a/b"),
        ({**access(), "sig": "ü"}, "r", "outbox", "a/b"),
        ({**access(), "se": "tomorrow"}, "r", "outbox", "a/b"),
    ],
)
def test_anything_else_stays_closed(query: dict[str, str], needed: str, container: str, blob: str) -> None:
    with pytest.raises(AccessRefused):
        require(KEY, query, needed, container, blob)


def test_a_time_that_is_no_time_is_refused_even_with_a_right_signature() -> None:
    signature = sign(KEY, "r", "tomorrow", "b", "outbox", "a")

    with pytest.raises(AccessRefused, match="ISO 8601"):
        require(KEY, {"sp": "r", "se": "tomorrow", "sr": "b", "sig": signature}, "r", "outbox", "a")


# Lists


@given(st.sets(st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2})?", fullmatch=True), max_size=12), st.integers(1, 5))
def test_pages_together_hold_every_name_once_in_order(names: set[str], limit: int) -> None:
    names = {name for name in names if not any(other.startswith(name + "/") for other in names)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"x")
        found, marker = list[str](), ""
        for _ in range(20):
            page = list_page(root, "", marker, limit)
            found += [blob.name for blob in page.blobs]
            marker = page.next_marker
            if not marker:
                break

    assert found == sorted(names)


def test_a_list_is_well_formed_whatever_the_names_hold(tmp_path: Path) -> None:
    (tmp_path / 'a<&">.zip').write_bytes(b"12345")

    page = list_page(tmp_path, "", "", 10)
    parsed = ElementTree.fromstring(to_xml(page, "http://x/blobs/", "outbox", "<p>", "", 10))

    assert parsed.findtext("Prefix") == "<p>"
    assert parsed.findtext("Blobs/Blob/Name") == 'a<&">.zip'
    assert parsed.findtext("Blobs/Blob/Properties/Content-Length") == "5"
