"""The report of a run: one HTML file that needs nothing else, for a person to look at.

The page is demo/report.html with ``$names`` filled in; pictures come from demo.charts.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from demo import charts, words
from demo.checks import Check
from demo.mail_sink import ReceivedMail
from demo.record import DeviceFact, ReleaseFact, RunRecord, TransferFact

_TEMPLATE = Path(__file__).with_name("report.html")


def render(record: RunRecord, checks: Sequence[Check]) -> str:
    """The page. Everything that came from outside is escaped."""
    held = all(check.held for check in checks)
    failed = sum(not check.held for check in checks)
    return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
        verdict_class="good" if held else "bad",
        verdict="Everything held" if held else f"{failed} of {len(checks)} checks failed",
        when=datetime.fromtimestamp(record.started).astimezone().strftime("%d %B %Y, %H:%M"),
        took=words.duration(record.ended - record.started),
        headline=_headline(record),
        bytes_chart=charts.bytes_chart(record.transfers),
        transfers=_transfer_table(record.transfers),
        timeline=charts.timelines(record),
        devices="".join(map(_device_card, record.devices)),
        mails="".join(map(_mail, record.mails)) or "<p>No mail arrived.</p>",
        releases="".join(map(_release, record.releases)) or "<p>No manifest was set.</p>",
        checks="".join(map(_check, checks)),
        set_id=escape(record.set_id),
    )


def write_report(record: RunRecord, checks: Sequence[Check], path: Path) -> None:
    """Write the page to ``path``, replacing an older one at once."""
    partial = path.with_suffix(".part")
    partial.write_text(render(record, checks), "utf-8")
    partial.rename(path)


def _headline(record: RunRecord) -> str:
    sent = sum(fact.bundle_bytes for fact in record.transfers)
    full = sum(fact.full_bytes for fact in record.transfers)
    pulled = sum(fact.pull_bytes for fact in record.transfers)
    cuts = sum(len(fact.cuts) for fact in record.devices)
    tiles = [
        (words.size(sent), "sent"),
        (
            words.share(sent / pulled) if pulled else "–",
            f"of the {words.size(pulled)} that docker pull would have moved",
        ),
        (words.share(sent / full) if full else "–", f"of the {words.size(full)} of whole images, uncompressed"),
        (str(len(record.transfers)), f"transfers, built as {len(record.patches)} patches"),
        (str(cuts), "link cuts, every download resumed"),
        (str(sum(record.kills.values())), "processes killed with SIGKILL, both went on"),
    ]
    return "".join(f"<div><b>{escape(figure)}</b><span>{escape(meaning)}</span></div>" for figure, meaning in tiles)


_TRANSFER_HEADINGS = (
    *("Device", "Image", "Source", "Uncompressed bytes", "docker pull", "Bundle bytes", "Of the pull", "On the link"),
    "State",
)


def _transfer_cells(fact: TransferFact) -> list[tuple[str, str]]:
    seconds = "–" if fact.seconds_on_link is None else words.duration(fact.seconds_on_link)
    return [
        ("", fact.device),
        ("", fact.image),
        ("", fact.source or "none"),
        ("number", f"{fact.full_bytes:,}"),
        ("number", f"{fact.pull_bytes:,}"),
        ("number", f"{fact.bundle_bytes:,}"),
        ("number", words.share(fact.share_of_pull)),
        ("number", seconds),
        ("", fact.state + (", verified" if fact.verified else "")),
    ]


def _transfer_table(transfers: Sequence[TransferFact]) -> str:
    """On a phone each row is a card, and each cell says what it is."""
    shown = [_transfer_cells(fact) for fact in transfers]
    styles = [style for style, _ in shown[0]] if shown else [""] * len(_TRANSFER_HEADINGS)
    heads = "".join(f'<th class="{style}">{name}</th>' for style, name in zip(styles, _TRANSFER_HEADINGS, strict=True))
    body = _rows(shown, _TRANSFER_HEADINGS)
    return f'<table class="cards-on-phones"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _rows(rows: Iterable[Sequence[tuple[str, str]]], headings: Sequence[str] = ()) -> str:
    return "".join(f"<tr>{_cells(cells, headings or [''] * len(cells))}</tr>" for cells in rows)


def _cells(cells: Sequence[tuple[str, str]], headings: Sequence[str]) -> str:
    return "".join(
        f'<td class="{style}" data-is="{heading}">{escape(text)}</td>'
        for (style, text), heading in zip(cells, headings, strict=True)
    )


def _device_card(fact: DeviceFact) -> str:
    new = [image for image in fact.images_after if image not in fact.images_before]
    chips = "".join(f"<i>{escape(image)}</i>" for image in fact.images_before)
    chips += "".join(f'<i class="new">{escape(image)}</i>' for image in new)
    line = f"{words.size(fact.bundle_bytes)} of bundles and {words.size(fact.link_bytes - fact.bundle_bytes)} of talk"
    cut = f"cut {words.times(len(fact.cuts))}" if fact.cuts else "never cut"
    return (
        f'<article class="card"><header><b>{escape(fact.device)}</b><span>hub {escape(fact.hub)}</span></header>'
        f'<p class="chips">{chips}</p><p>{escape(line)} came down its link, '
        f"which was {cut}. Member of the set: {escape(fact.member_state)}.</p></article>"
    )


def _mail(mail: ReceivedMail) -> str:
    return (
        f'<article class="mail"><header><b>{escape(mail.subject)}</b>'
        f"<span>to {escape(mail.recipient)}</span></header><pre>{escape(mail.body.strip())}</pre></article>"
    )


def _release(fact: ReleaseFact) -> str:
    images = _rows([[("", module), ("mono", image)] for module, image in fact.images.items()])
    content = escape(json.dumps(fact.content, indent=2))
    return (
        f'<article class="card wide"><header><b>{escape(fact.device)}</b>'
        f"<span>in hub {escape(fact.hub)}</span></header><table>{images}</table>"
        f"<details><summary>The manifest as the hub has it</summary><pre>{content}</pre></details></article>"
    )


def _check(check: Check) -> str:
    style, sign = ("good", "✓") if check.held else ("bad", "✕")
    return f'<li class="{style}"><i>{sign}</i><span>{escape(check.claim)}</span><em>{escape(check.seen)}</em></li>'
