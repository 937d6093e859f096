"""The demo's report in a browser as wide as a phone: whatever is in it can be seen without moving sideways."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from demo.checks import check_run
from demo.record import RunRecord
from demo.report import render
from tests.unit.demo.records import EXPECTED, a_record

pytestmark = pytest.mark.e2e

WIDTHS = (320, 360, 900, 902, 1280)
CHROMIUM = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
MEASURE = """
addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")].map(frame => measure(frame.contentDocument));
  document.body.innerHTML = `<pre id="result"></pre>`;
  document.querySelector("#result").textContent = JSON.stringify(frames);
});
const measure = page => {
  const width = page.defaultView.innerWidth;
  const seen = [...page.body.querySelectorAll("*")].filter(each => each.getClientRects().length);
  const edges = each => each.getBoundingClientRect();
  const outside = each => edges(each).left < -0.5 || edges(each).right > width + 0.5;
  const inside = (a, b) => edges(a).left > edges(b).left - 1 && edges(a).right < edges(b).right + 1;
  const clipped = each => each.closest("svg") ? !inside(each, each.closest("svg")) :
    each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display != "inline";
  const scale = picture => edges(picture).width / picture.viewBox.baseVal.width;
  const small = each => parseFloat(getComputedStyle(each).fontSize) * scale(each.closest("svg")) < 8;
  const name = each => `${each.tagName} ${each.className.baseVal ?? each.className}: ${each.textContent.slice(0, 40)}`;
  return {
    width, scrollWidth: page.documentElement.scrollWidth,
    outside: seen.filter(outside).map(name), clipped: seen.filter(clipped).map(name),
    small: seen.filter(each => each.tagName == "text" && small(each)).map(name),
  };
};
"""


def measured(pages: Iterable[tuple[str, int]], folder: Path) -> list[dict[str, Any]]:
    """What a browser makes of (page, width): in frames, since no browser window is as narrow as a phone."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:740px;border:0" srcdoc="{escape(html)}"></iframe>'
        for html, width in pages
    )
    outer = folder / "outer.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>", "utf-8")
    command = [*CHROMIUM, f"--user-data-dir={folder / 'profile'}", "--dump-dom", outer.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    found = re.search(r'<pre id="result">(.*?)</pre>', dumped, re.DOTALL)
    assert found, dumped[-2000:]
    results: list[dict[str, Any]] = json.loads(unescape(found[1]))
    return results


def with_long_names(record: RunRecord) -> RunRecord:
    """Names of a real fleet, without a place to break them."""
    image, device = "registry.fleet.example/propulsion/enginecontroller:2026.11.29-build.20261129.17", "v" * 60
    moved = tuple(replace(fact, image=image, source=image) for fact in record.transfers)
    devices = tuple(
        replace(fact, device=device, images_before=(image,), images_after=(image,)) for fact in record.devices
    )
    releases = tuple(replace(fact, images={"m" * 60: image}, device=device) for fact in record.releases)
    mails = tuple(replace(mail, subject="s" * 90, recipient=f"{'r' * 60}@x.example") for mail in record.mails)
    return replace(record, transfers=moved, devices=devices, releases=releases, mails=mails, set_id="set-" + "0" * 60)


def test_nothing_of_the_report_lies_off_screen_or_is_too_small_to_read(tmp_path: Path) -> None:
    records = (a_record(), with_long_names(a_record()))
    pages = [(render(record, check_run(record, EXPECTED)), width) for record in records for width in WIDTHS]

    found = measured(pages, tmp_path)

    assert [(each["width"], each["scrollWidth"]) for each in found] == [(width, width) for _, width in pages]
    assert [name for each in found for name in each["outside"] + each["clipped"] + each["small"]] == []


def test_what_lies_off_screen_is_seen_by_this_test(tmp_path: Path) -> None:
    (seen,) = measured([('<body style="margin:0"><p style="width:500px">wide</p>', 360)], tmp_path)

    assert (seen["scrollWidth"], seen["outside"]) == (500, ["P : wide"])
