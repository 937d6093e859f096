"""Every stable code has a sentence that tells its reader what to do, and no sentence is left without a code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from imagedelta.errors import REMEDIES
from tests.test_import_directions import ALL_FILES, ROOT, name_of

_ERRORS = ROOT / "imagedelta" / "errors.py"


def given_codes(path: Path) -> Iterator[str]:
    """Literals given as ``code=…`` in a call, or assigned to ``code``, as classes of errors do."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (isinstance(node, ast.keyword) and node.arg == "code") or (
            isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "code" for to in node.targets)
        ):
            yield from _literals(node.value)


def _literals(value: ast.expr) -> Iterator[str]:
    """The texts that an expression can be: both sides of ``a if x else b`` and of ``x or b``."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from (*_literals(value.body), *_literals(value.orelse))
    elif isinstance(value, ast.BoolOp):
        yield from (text for each in value.values for text in _literals(each))


def _all_texts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_code_that_is_raised_has_a_remedy() -> None:
    missing = {f"{name_of(path)}: {code}" for path in ALL_FILES for code in given_codes(path) if code not in REMEDIES}

    assert missing == set()


def test_every_remedy_belongs_to_a_code_that_something_raises() -> None:
    used = {text for path in ALL_FILES if path != _ERRORS for text in _all_texts(path)}

    assert set(REMEDIES) - used - set(given_codes(_ERRORS)) == set()


def test_no_code_is_explained_twice() -> None:
    """A later entry of the dictionary would silently hide the earlier one."""
    keys = [
        key.value
        for node in ast.walk(ast.parse(_ERRORS.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]

    assert len(keys) == len(set(keys)) == len(REMEDIES)
