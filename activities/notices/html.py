"""A story as HTML that mail programs show alike: one column, inline styles, nothing fetched, nothing run. Pure.

Outlook renders with the engine of Word: tables and plain properties, no flexbox, no style sheet. Colours are readable
on white and where a phone inverts them. Everything that comes from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from activities.notices.story import Reason, Story

_ACCENTS = {"good": "#1a7f37", "bad": "#c62828", "waits": "#b26a00"}
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;"
_TEXT = f"{_FONT}font-size:15px;line-height:22px;color:#24292f;"
_SMALL = f"{_FONT}font-size:13px;line-height:19px;color:#57606a;"
_BREAK = "word-break:break-word;overflow-wrap:anywhere;"
_COMMAND = (
    "font-family:Consolas,Menlo,'Courier New',monospace;font-size:13px;line-height:19px;color:#24292f;"
    f"background-color:#f2f4f6;padding:8px 10px;margin:0 0 6px 0;white-space:pre-wrap;{_BREAK}"
)
_PREVIEW = "display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden;"


def html_text(story: Story) -> str:
    """A whole document."""
    accent = _ACCENTS[story.tone]
    blocks = [
        f'<h1 style="{_FONT}font-size:19px;line-height:26px;margin:0;color:{accent};{_BREAK}">'
        f"{escape(story.name)} {escape(story.happened)}</h1>",
        _reasons(story.reasons),
        _paragraph(escape(story.advice)) + "".join(map(_command, story.commands)),
        _button(story.page, accent) if story.page else "",
        _numbers(story.numbers),
        _footer(story),
    ]
    rows = "".join(f'<tr><td style="padding:0 0 18px 0;">{block}</td></tr>\n' for block in blocks if block)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">'
        f"<title>{escape(story.subject)}</title></head>\n"
        '<body style="margin:0;padding:0;background-color:#ffffff;">\n'
        f'<div style="{_PREVIEW}">{escape(_preview(story))}</div>\n'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr>'
        f'<td style="padding:20px 16px;border-top:4px solid {accent};">\n'
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:620px;">\n'
        f"{rows}</table>\n</td></tr></table>\n</body></html>\n"
    )


def _preview(story: Story) -> str:
    """What a phone shows below the subject."""
    first = story.reasons[0] if story.reasons else None
    return (first.told or first.who or first.remedy) if first else story.advice


def _paragraph(inside: str, style: str = _TEXT) -> str:
    return f'<p style="{style}margin:0 0 8px 0;{_BREAK}">{inside}</p>'


def _command(command: str) -> str:
    return f'<pre style="{_COMMAND}">{escape(command)}</pre>'


def _reasons(reasons: Iterable[Reason]) -> str:
    return "".join(_paragraph("<br>".join(_reason(reason))) for reason in reasons)


def _reason(reason: Reason) -> Iterable[str]:
    if reason.who:
        yield f"<b>{escape(reason.who)}:</b> {escape(reason.named)}"
    if reason.code:
        told = f"{escape(reason.told)}. " if reason.told else ""
        code = f'<span style="{_SMALL}">[{escape(reason.code)}]</span>'
        yield f"{told}{escape(reason.remedy)} {code}"


def _button(page: str, accent: str) -> str:
    return (
        '<table role="presentation" cellpadding="0" cellspacing="0" border="0"><tr>'
        f'<td bgcolor="{accent}" style="padding:10px 18px;background-color:{accent};">'
        f'<a href="{escape(page)}" style="{_FONT}font-size:15px;color:#ffffff;text-decoration:none;">'
        "Open the deployment set</a></td></tr></table>"
    )


def _numbers(numbers: Iterable[tuple[str, str]]) -> str:
    cell = f"{_TEXT}padding:3px 0;vertical-align:top;"
    rows = "".join(
        f'<tr><td style="{cell}color:#57606a;padding-right:16px;white-space:nowrap;">{escape(label)}</td>'
        f'<td style="{cell}{_BREAK}">{escape(value)}</td></tr>'
        for label, value in numbers
    )
    return f'<table role="presentation" cellpadding="0" cellspacing="0" border="0">{rows}</table>'


def _footer(story: Story) -> str:
    more = f"More: docs/runbooks/{escape(story.runbook)}<br>" if story.runbook else ""
    return _paragraph(
        f"Set {escape(story.set_id)}<br>{more}You get this because {escape(story.owner)} ordered the set.", _SMALL
    ) + _command(story.look)
