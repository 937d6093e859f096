"""Documents: each can be reached from the README, and no link in them leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.doc_blocks import DOCUMENTS, README, ROOT

MARKDOWN = MarkdownIt().enable("table")


def tokens(document: Path) -> Iterator[Token]:
    for token in MARKDOWN.parse(document.read_text("utf-8")):
        yield token
        yield from token.children or ()


def links(document: Path) -> list[str]:
    """Targets of links and pictures that lie in this project."""
    targets = [str(token.attrs.get("href", token.attrs.get("src", ""))) for token in tokens(document)]
    return [target for target in targets if target and not re.match(r"[a-z]+:", target)]


def anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    found, take = set(), False
    for token in tokens(document):
        if take and token.type == "inline":
            found.add(re.sub(r"[^\w\- ]", "", token.content.lower()).replace(" ", "-"))
        take = token.type == "heading_open"
    return found


def target_of(document: Path, link: str) -> Path:
    path = link.partition("#")[0]
    return (document.parent / path).resolve() if path else document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_of_a_document_leads_nowhere(document: Path) -> None:
    dead = [link for link in links(document) if not target_of(document, link).exists()]
    lost = [
        link
        for link in links(document)
        if "#" in link and link not in dead and link.partition("#")[2] not in anchors(target_of(document, link))
    ]

    assert (dead, lost) == ([], [])


def test_every_document_is_reached_from_the_readme_by_links() -> None:
    reached, waiting = set(), [README]
    while waiting:
        document = waiting.pop()
        if document in reached:
            continue
        reached.add(document)
        pages = [target_of(document, link) for link in links(document)]
        waiting += [page for page in pages if page.suffix == ".md" and page.exists()]
        waiting += [index for page in pages if page.is_dir() for index in folder_of(page)]

    ours = [path for path in DOCUMENTS if path.parent == ROOT or path.is_relative_to(ROOT / "docs")]
    assert [str(path.relative_to(ROOT)) for path in ours if path not in reached] == []


def folder_of(folder: Path) -> list[Path]:
    """A link to a folder shows its README, or else the list of its documents."""
    readme = folder / "README.md"
    return [readme] if readme.exists() else sorted(folder.glob("*.md"))
