"""Command blocks of the documents, and how each is marked.

``bash``: the reader types it, and a test does. ``bash azure``: it needs an Azure subscription or a device with
Docker and is not run here. Anything else is something to look at. See docs/adr/0037.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = ("docs", "edge_module", "pipelines", "samples", "infra")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
RUN, AZURE = "bash", "bash azure"


@dataclass(frozen=True)
class Block:
    """One fenced block, with the fence's own words."""

    page: Path
    info: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in lists and quotations too, in their order."""
    tokens = MarkdownIt().enable("table").parse(page.read_text("utf-8"))
    return [
        Block(page, token.info.strip(), token.content, (token.map or [0])[0] + 1)
        for token in tokens
        if token.type == "fence"
    ]


def with_expected(page: Path) -> list[tuple[Block, str]]:
    """Blocks to run, each with the JSON that the page shows directly below it, or nothing."""
    found = blocks(page)
    below = [*found[1:], Block(page, "", "", 0)][: len(found)]
    return [
        (one, after.text if after.info == "json" and after.line == one.line + one.text.count("\n") + 2 else "")
        for one, after in zip(found, below, strict=True)
        if one.info == RUN
    ]
