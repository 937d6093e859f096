"""Every stable code has a sentence that tells its reader what to do, and no sentence is left without a code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from imagedelta import errors
from tests.test_import_directions import ALL_FILES, MAY_SEE, ROOT, name_of, within

_ERRORS = ROOT / "imagedelta" / "errors.py"
_FILES = [path for path in ALL_FILES if path.name == "codes.py"]
EXPLAINED: dict[str, dict[str, str]] = {
    ".".join(path.relative_to(ROOT).parent.parts): import_module(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
    ).REMEDIES
    for path in _FILES
}
"""Room → the codes that it explains, beside those of ``imagedelta.errors``."""
REMEDIES = errors.REMEDIES


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
    used = {text for path in ALL_FILES if path not in (_ERRORS, *_FILES) for text in _all_texts(path)}

    assert set(REMEDIES) - used - set(given_codes(_ERRORS)) == set()


def test_a_code_is_explained_in_the_room_that_raises_it_or_in_one_that_this_room_sees() -> None:
    """So whoever raises a code has it explained, whatever else its process imports."""
    room_of = {code: room for room, codes in EXPLAINED.items() for code in codes}

    strange = {
        f"{name_of(path)}: {code} of {room_of[code]}"
        for path in ALL_FILES
        for code in given_codes(path)
        if code in room_of
        and not within(room_of[code], path.relative_to(ROOT).parts[0], *MAY_SEE[path.relative_to(ROOT).parts[0]])
    }

    assert strange == set()


def test_no_code_is_explained_twice() -> None:
    """A later entry of a dictionary would silently hide the earlier one."""
    keys = [
        key.value
        for path in (_ERRORS, *_FILES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    ]

    assert len(keys) == len(set(keys)) == len(REMEDIES)


def test_a_second_explanation_of_a_code_is_refused() -> None:
    with pytest.raises(ValueError, match=r"patch\.memory"):
        errors.explain({"patch.memory": "Buy more."})


@pytest.mark.parametrize("room", EXPLAINED)
def test_whoever_imports_anything_of_a_room_has_its_codes(room: str) -> None:
    code = next(iter(EXPLAINED[room]))
    script = f"import {room}, imagedelta.errors as errors; print(errors.REMEDIES[{code!r}])"

    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ran.stdout.strip(), ran.stderr) == (EXPLAINED[room][code], "")
