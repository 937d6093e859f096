"""A pipeline as Azure Pipelines makes it of a file, its templates and parameters: one document, without ``${{ }}``.

Stricter than Azure Pipelines in one thing: a parameter that is asked for and not declared is refused, not null.

Source: learn.microsoft.com, "Template usage reference", "Template expressions", "Template parameters".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.pipelines.expressions import Node, PipelineError, evaluate, parse, paths, text_of, truth

_WHOLE = re.compile(r"^\$\{\{((?:(?!\}\}).)*)\}\}$", re.S)
_PART = re.compile(r"\$\{\{(.*?)\}\}", re.S)
_INSERTION = re.compile(r"^\$\{\{\s*(if|elseif|else|each|insert)\b(.*)\}\}$", re.S)
_LISTS = ("stages", "jobs", "steps", "variables")
"""Where templates may be put in."""


class Source:
    """Where files come from: the pipeline's own repository, and others by their alias."""

    def __init__(self, own: Path, **others: Path) -> None:
        self._roots = {"self": own, **others}

    def find(self, name: str, here: Path, alias: str) -> tuple[Path, str]:
        """Path and repository of a template as a file of repository ``alias`` names it."""
        path, _, named = name.partition("@")
        if named and named not in self._roots:
            raise PipelineError(f"{name}: no repository is declared as {named}")
        root = self._roots[named or alias]
        found = root / path.lstrip("/") if named or path.startswith("/") else here.parent / path
        if not found.is_file():
            raise PipelineError(f"{name}: there is no such template in {root.name}")
        return found, named or alias

    def own(self, name: str) -> Path:
        return self._roots["self"] / name


def read(path: Path) -> dict[str, Any]:
    """A YAML file, each scalar a text as it stands there."""
    loaded = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    if not isinstance(loaded, dict):
        raise PipelineError(f"{path.name} is no mapping")
    return loaded


def expand(source: Source, name: str, given: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """The document of a run.

    Args:
        given: Parameters of the run.
        variables: Of Azure Pipelines itself, as far as they are known before a run starts.
    """
    path = source.own(name)
    document = read(path)
    declared = {one["repository"] for one in document.get("resources", {}).get("repositories", ())}
    made = _File(source, path, "self", variables, declared).document(document, given)
    if extended := made.pop("extends", None):
        found, alias = source.find(extended["template"], path, "self")
        if alias != "self" and alias not in declared:
            raise PipelineError(f"{extended['template']}: {alias} is no repository of resources")
        known = {**variables, **_plain(made.get("variables", []))}
        inner = _File(source, found, alias, known, declared).document(read(found), extended.get("parameters", {}))
        if set(inner) & {"variables", "resources", "trigger"}:
            raise PipelineError(f"{found.name}: what a pipeline of its own decides stands in an extended template")
        made |= inner
    return made


def _plain(variables: Any) -> dict[str, str]:
    if isinstance(variables, Mapping):
        return dict(variables)
    return {one["name"]: one["value"] for one in variables if "name" in one}


class _File:
    """One file with the values of its parameters."""

    def __init__(
        self, source: Source, path: Path, alias: str, variables: Mapping[str, str], declared: set[str]
    ) -> None:
        self._source = source
        self._path = path
        self._alias = alias
        self._variables = variables
        self._declared = declared

    def document(self, document: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in document.items() if key != "parameters"}
        scope = {
            "parameters": self._parameters(document.get("parameters", []), given),
            "variables": self._variables,
        }
        made: dict[str, Any] = self._value(rest, scope)
        return made

    def _parameters(self, declared: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
        names = {one["name"] for one in declared}
        if unknown := sorted(set(given) - names):
            raise PipelineError(f"{self._path.name} has no parameter {', '.join(unknown)}")
        values = {}
        for one in declared:
            name = one["name"]
            if name not in given and "default" not in one:
                raise PipelineError(f"{self._path.name} needs the parameter {name}")
            defaults = [self._typed(one, one["default"])] if "default" in one else []
            values[name] = self._typed(one, given[name]) if name in given else defaults[0]
        return values

    def _typed(self, declared: Mapping[str, Any], value: Any) -> Any:
        kind, name = declared.get("type", "string"), declared["name"]
        if kind == "object":
            return value
        if isinstance(value, (list, dict)):
            raise PipelineError(f"{self._path.name}: {name} is a {kind}, not {value!r}")
        text = text_of(value)
        if "values" in declared and text not in declared["values"]:
            raise PipelineError(f"{self._path.name}: {name} is one of {', '.join(declared['values'])}, not {text}")
        if kind == "boolean":
            if text.lower() not in ("true", "false"):
                raise PipelineError(f"{self._path.name}: {name} is true or false, not {text}")
            return text.lower() == "true"
        if kind == "number" and not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise PipelineError(f"{self._path.name}: {name} is a number, not {text}")
        return text

    # What stands in the document

    def _value(self, value: Any, scope: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, scope)
        if isinstance(value, list):
            return list(self._items(value, scope))
        return self._text(value, scope)

    def _text(self, text: str, scope: Mapping[str, Any]) -> Any:
        if whole := _WHOLE.match(text.strip()):
            found = self._evaluate(whole[1], scope)
            return found if isinstance(found, (list, dict)) else text_of(found)
        made = _PART.sub(lambda part: text_of(self._evaluate(part[1], scope)), text)
        if "${{" in made:
            raise PipelineError(f"{self._path.name}: {text!r} has an expression without its end")
        return made

    def _evaluate(self, expression: str, scope: Mapping[str, Any]) -> Any:
        node = parse(expression)
        self._refuse_unknown(node, expression, scope)
        return evaluate(node, scope)

    def _refuse_unknown(self, node: Node, expression: str, scope: Mapping[str, Any]) -> None:
        for path in paths(node):
            if path[0] == "variables" and len(path) > 1 and path[1] not in scope["variables"]:
                raise PipelineError(
                    f"{self._path.name}: {path[1]} is not known before a run: $({path[1]}) is, in a step"
                )
            if path[0] == "parameters" and len(path) > 1 and path[1] not in scope["parameters"]:
                raise PipelineError(f"{self._path.name}: {expression.strip()!r} asks for no parameter of it: {path[1]}")

    def _mapping(self, mapping: dict[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        taken = True
        for key, value in mapping.items():
            if found := _INSERTION.match(key.strip()):
                for inner, use in self._chosen(found[1], found[2], scope, taken):
                    taken = use
                    if use:
                        made |= self._as_mapping(value, inner)
                continue
            name = text_of(self._text(key, scope))
            made[name] = (
                self._list(value, scope) if name in _LISTS and isinstance(value, list) else self._value(value, scope)
            )
        return made

    def _as_mapping(self, value: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
        made = self._value(value, scope)
        if not isinstance(made, dict):
            raise PipelineError(f"{self._path.name}: {value!r} cannot be put into a mapping")
        return made

    def _items(self, items: list[Any], scope: Mapping[str, Any]) -> Iterator[Any]:
        taken = True
        for item in items:
            key = next(iter(item)) if isinstance(item, dict) and len(item) == 1 else ""
            if not (found := _INSERTION.match(key.strip())):
                yield self._value(item, scope)
                continue
            for inner, use in self._chosen(found[1], found[2], scope, taken):
                taken = use
                if use:
                    value = item[key]
                    yield from self._items(value if isinstance(value, list) else [value], inner)

    def _list(self, items: list[Any], scope: Mapping[str, Any]) -> list[Any]:
        """Of stages, jobs, steps or variables: each may be a template of more."""
        made: list[Any] = []
        for item in self._items(items, scope):
            made += self._template(item) if isinstance(item, dict) and "template" in item else [item]
        return made

    def _template(self, item: Mapping[str, Any]) -> list[Any]:
        if extra := set(item) - {"template", "parameters"}:
            raise PipelineError(
                f"{item['template']}: a template takes parameters alone, not {', '.join(sorted(extra))}"
            )
        path, alias = self._source.find(item["template"], self._path, self._alias)
        file = _File(self._source, path, alias, self._variables, self._declared)
        made = file.document(read(path), item.get("parameters", {}))
        ((_, found),) = made.items()
        return list(found)

    def _chosen(
        self, word: str, rest: str, scope: Mapping[str, Any], before: bool
    ) -> Iterator[tuple[Mapping[str, Any], bool]]:
        """With which names, and whether, what stands below ``${{ if … }}`` and its like is put in."""
        if word == "each":
            name, _, of = rest.strip().partition(" in ")
            values = self._evaluate(of, scope)
            pairs = values if isinstance(values, list) else [{"key": k, "value": v} for k, v in (values or {}).items()]
            for value in pairs:
                yield {**scope, name.strip(): value}, True
        elif word == "insert":
            yield scope, True
        elif word == "if":
            yield scope, truth(self._evaluate(rest, scope))
        elif word == "elseif":
            yield scope, not before and truth(self._evaluate(rest, scope))
        else:
            yield scope, not before
