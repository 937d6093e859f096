"""Which class a transfer gets: the first rule that matches workstream, module and device tags.

Source: priorities.yaml at the project's root, which explains its own form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from imagedelta.errors import RequestError

CLASSES = ("urgent", "normal", "background")
DEFAULT_CLASS = "normal"
_MAX_RULES = 1000
_KEYS = frozenset({"class", "workstream", "module", "tags"})


@dataclass(frozen=True)
class Rule:
    """What is not named matches everything; names may hold ``*`` and ``?``."""

    priority: str
    workstream: str
    module: str
    tags: Mapping[str, str]

    def matches(self, workstream: str, modules: Sequence[str], tags: Mapping[str, str]) -> bool:
        return (
            fnmatchcase(workstream, self.workstream)
            and any(fnmatchcase(module, self.module) for module in modules)
            and all(name in tags and fnmatchcase(tags[name], pattern) for name, pattern in self.tags.items())
        )


def parse_rules(document: Any) -> tuple[Rule, ...]:
    """Read the parsed YAML of a rules file.

    Raises: RequestError ``settings.priorities`` naming the rule that does not fit.
    """
    rules = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(rules, list) or len(rules) > _MAX_RULES:
        raise _wrong(f"it needs a list 'rules' of at most {_MAX_RULES}")
    return tuple(_rule(number, item) for number, item in enumerate(rules, 1))


def class_of(rules: Sequence[Rule], workstream: str, modules: Sequence[str], tags: Mapping[str, str]) -> str:
    return next((rule.priority for rule in rules if rule.matches(workstream, modules, tags)), DEFAULT_CLASS)


def _rule(number: int, item: Any) -> Rule:
    if not isinstance(item, dict) or not _KEYS.issuperset(item):
        raise _wrong(f"rule {number} may have the keys {', '.join(sorted(_KEYS))} only")
    tags = item.get("tags", {})
    if item.get("class") not in CLASSES:
        raise _wrong(f"rule {number}: class must be one of {', '.join(CLASSES)}")
    if not isinstance(tags, dict):
        raise _wrong(f"rule {number}: tags must map names to patterns")
    texts = {str(name): _pattern(number, pattern) for name, pattern in tags.items()}
    workstream, module = (_pattern(number, item.get(key, "*")) for key in ("workstream", "module"))
    return Rule(str(item["class"]), workstream, module, texts)


def _pattern(number: int, value: Any) -> str:
    """YAML reads an unquoted 7 as a number; a list or nothing would be a pattern that never matches."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise _wrong(f"rule {number}: {value!r} is not a pattern; quote it if it is a word")
    return str(value)


def _wrong(what: str) -> RequestError:
    return RequestError(f"the priorities file: {what}", code="settings.priorities")
