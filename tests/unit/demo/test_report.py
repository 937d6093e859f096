from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from demo import words
from demo.checks import check_run
from demo.mail_sink import ReceivedMail
from demo.record import RunRecord
from demo.report import render
from tests.unit.demo.records import EXPECTED, a_record

_VOID = {"meta", "link", "br", "line"}


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(record: RunRecord) -> str:
    return render(record, check_run(record, EXPECTED))


def test_the_report_is_one_well_formed_file_that_loads_nothing() -> None:
    html = page(a_record())

    balance = _Balance()
    balance.feed(html)
    assert balance.open == []
    for picture in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ElementTree.fromstring(picture)
    assert not re.search(r"(?:src|href)=\"(?!data:,)|url\(|@import|<script", html)
    assert "$" not in re.sub(r"\$edge\w+", "", html)


def test_the_report_tells_sizes_sources_and_the_verdict() -> None:
    html = page(a_record())

    assert "Everything held" in html
    assert "35.8 kB sent, from app:1; a pull moves 24.6 MB" in html
    assert "0.15 %" in html


def test_a_failed_check_stands_in_the_verdict() -> None:
    html = page(replace(a_record(), state="failed"))

    assert "1 of " in html and "checks failed" in html


def test_what_came_from_outside_is_escaped() -> None:
    mail = ReceivedMail("<1@x>", "ada@example.org", "<script>alert(1)</script>", "a & b <i>")

    html = page(replace(a_record(), mails=(mail,)))

    assert "<script>" not in html
    assert "a &amp; b &lt;i&gt;" in html


def test_a_run_that_stopped_early_still_has_a_report() -> None:
    html = page(replace(a_record(), transfers=(), releases=(), mails=(), devices=(), events=(), spans=()))

    assert "No mail arrived" in html and "No manifest was set" in html


def test_the_summary_has_the_agreed_form() -> None:
    summary = a_record().summary()

    assert summary["transfers"][2] == {
        "device": "boreas",
        "image": "app:2",
        "imageId": "sha256:" + "c" * 64,
        "source": "app:1",
        "fullBytes": 121_337_803,
        "pullBytes": 24_600_000,
        "bundleBytes": 35_841,
        "state": "succeeded",
        "verified": True,
    }
    assert {key: value for key, value in summary.items() if key != "transfers"} == {
        "state": "completed",
        "alreadyPresent": ["calypso"],
        "mails": 2,
        "releases": [
            {"device": "aurora", "hub": "north"},
            {"device": "boreas", "hub": "south"},
            {"device": "calypso", "hub": "south"},
        ],
        "kills": {"host": 1, "device": 1},
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (12, "12 B"),
        (999, "999 B"),
        (35_841, "35.8 kB"),
        (999_960, "1.00 MB"),
        (9_610_000, "9.61 MB"),
        (121_337_803, "121 MB"),
    ],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(("part", "text"), [(0.0003, "0.030 %"), (0.0042, "0.42 %"), (0.054, "5.4 %"), (0.31, "31 %")])
def test_small_shares_keep_digits(part: float, text: str) -> None:
    assert words.share(part) == text


def test_a_pinned_image_is_short_enough_for_a_line() -> None:
    assert words.short_image("localhost:5000/app@sha256:" + "ab" * 32) == "localhost:5000/app@sha256:abababababab…"
    assert words.short_image("localhost:5000/recon:1") == "localhost:5000/recon:1"
