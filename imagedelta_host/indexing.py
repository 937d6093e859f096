"""What Azure refuses when it indexes an app: the Python worker's rules in the worker's own words, and the Functions
host's rule for names.

An app that this host serves must not fail in Azure alone, so all of it holds at start, also for functions that are
switched off. What an annotation must be of, the converters of azure-functions say here and there.

Source: functions.Registry and loader of azure-functions-runtime 1.3; Utility.IsValidFunctionName of
azure-functions-host. tests/worker/test_refusals.py holds both sides against each other.
"""

from __future__ import annotations

import inspect
import re
import time
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from imagedelta_host.converters import converter_of
from imagedelta_host.errors import AppInvalid
from imagedelta_host.function_retry import EXPONENTIAL_BACKOFF, FIXED_DELAY

_NAME = re.compile(r"(?!host\Z)[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE | re.ASCII)
_OUT, _INOUT = 1, 2
"""BindingDirection of azure.functions."""
_RETURN = "$return"
_INTERVALS = {FIXED_DELAY: ("delay_interval",), EXPONENTIAL_BACKOFF: ("minimum_interval", "maximum_interval")}

_TYPING_ALIASES: tuple[Any, ...] = (type(typing.List), type(typing.List[int]))  # noqa: UP006
"""Of ``typing.List`` and ``typing.List[int]``. That of ``list[int]`` is not among them: the worker refuses it."""
_NOT_GENERIC = (typing.Union, tuple, typing.ClassVar, Callable)


def refuse_what_azure_refuses(functions: Iterable[Any]) -> None:
    """Check the functions of an app, as azure.functions has built them.

    Raises:
        AppInvalid: Azure would not index one of them; the message names the function and says why.
    """
    names: dict[str, str] = {}
    for function in functions:
        name = str(function.get_function_name())
        if not _NAME.fullmatch(name):
            raise AppInvalid(f"'{name}' is not a valid function name.")
        if (twin := names.setdefault(name.lower(), name)) != name:
            raise AppInvalid(f"the functions {twin} and {name} are one to the Functions host, which ignores case")
        try:
            _check_signature(function)
            _check_retry(function.get_settings_dict("retry_policy"))
        except Exception as error:  # a converter or a type hint of the app may raise anything
            raise AppInvalid(f"cannot load the {name} function: {error}") from error


def _check_signature(function: Any) -> None:
    run, bindings = function.get_user_function(), function.get_bindings()
    parameters = set(inspect.signature(run).parameters)
    annotations = typing.get_type_hints(run)
    for binding in bindings:
        _check_direction(binding)
    bound = {binding.name: binding for binding in bindings if binding.name != _RETURN}
    if "context" in parameters and "context" not in bound:
        parameters.remove("context")
        _check_context(annotations)
    _check_names(parameters, set(bound))
    for name in inspect.signature(run).parameters:
        if name in bound and name in annotations:
            _check_annotation(bound[name], annotations[name])
    if "return" in annotations and len(bound) < len(bindings):
        _check_return(next(binding.type for binding in bindings if binding.name == _RETURN), annotations["return"])


def _check_direction(binding: Any) -> None:
    if binding.direction == _INOUT:
        raise AppInvalid('"inout" bindings are not supported')
    if binding.name == _RETURN and binding.direction != _OUT:
        raise AppInvalid('"$return" binding must have direction set to "out"')


def _check_context(annotations: Mapping[str, Any]) -> None:
    annotation = annotations.get("context", typing.Any)
    if "context" in annotations and not (isinstance(annotation, type) and annotation.__name__ == "Context"):
        raise AppInvalid(
            f'the "context" parameter is expected to be of type azure.functions.Context, got "{annotation!r}"'
        )


def _check_names(parameters: set[str], bound: set[str]) -> None:
    if unbound := parameters - bound:
        raise AppInvalid(
            "the following parameters are declared in Python but not in the function definition "
            f"(function.json or function decorators):  {unbound!r}"
        )
    if missing := bound - parameters:
        raise AppInvalid(
            "Extra parameters in binding definition — the following parameters are declared as bindings "
            f"but are not present in Python: {missing!r}"
        )


def _check_annotation(binding: Any, annotation: Any) -> None:
    is_out = _is_out(annotation)
    of = _of_out(binding, annotation) if is_out else annotation
    if not isinstance(of, type) and not _is_generic(of):
        raise AppInvalid(f"binding {binding.name} has invalid non-type annotation {annotation!r}")
    if binding.direction == _OUT and not is_out:
        raise AppInvalid(
            f'binding {binding.name} is declared to have the "out" direction, but its annotation in Python is not '
            "a subclass of azure.functions.Out"
        )
    if binding.direction != _OUT and is_out:
        raise AppInvalid(
            f'binding {binding.name} is declared to have the "in" direction in the binding decorator, but its '
            "annotation is azure.functions.Out in Python"
        )
    if not _takes(binding.type, of, is_out):
        raise AppInvalid(_mismatch(binding, of))


def _is_out(annotation: Any) -> bool:
    origin = typing.get_origin(annotation) if _is_generic(annotation) else None
    kind = annotation if origin is None else origin
    return isinstance(kind, type) and kind.__name__ == "Out"


def _of_out(binding: Any, annotation: Any) -> Any:
    """What an ``Out[…]`` holds."""
    held = typing.get_args(annotation)
    if len(held) != 1:
        raise AppInvalid(f"binding {binding.name} has invalid Out annotation {annotation!r}")
    return held[0]


def _is_generic(annotation: Any) -> bool:
    """As the worker's copy of typing_inspect has it."""
    if isinstance(annotation, type) and issubclass(annotation, typing.Generic):
        return True
    return isinstance(annotation, _TYPING_ALIASES) and annotation.__origin__ not in _NOT_GENERIC


def _takes(binding_type: str, annotation: Any, is_out: bool) -> bool:
    """Whether a value of the binding may be annotated so."""
    converter = converter_of(binding_type)
    implicit = converter is None or getattr(converter, "has_implicit_output", bool)()
    if converter is None or (annotation in (str, bytes) and not implicit):  # what the worker calls generic
        return issubclass(annotation, (str, bytes, bytearray) if is_out else (str, bytes))
    check = converter.check_output_type_annotation if is_out else converter.check_input_type_annotation
    return bool(check(annotation))


def _mismatch(binding: Any, annotation: Any) -> str:
    name, kind, of = binding.name, binding.type, annotation.__name__
    if binding.data_type != 0:
        return (
            f'binding type "{name!r}" and dataType "{kind}" in the binding decorator do not match the corresponding '
            f"function parameter's Python type annotation {of}"
        )
    return f'type of {name} binding in the binding decorator "{kind}" does not match its Python annotation "{of}"'


def _check_return(binding_type: str, annotation: Any) -> None:
    if _is_out(annotation) and not isinstance(annotation, type):
        raise AppInvalid("return annotation should not be azure.functions.Out")
    if not isinstance(annotation, type):
        raise AppInvalid(f"has invalid non-type return annotation {annotation!r}")
    converter = converter_of(binding_type)
    takes = (
        issubclass(annotation, (str, bytes, bytearray))
        if converter is None
        else converter.check_output_type_annotation(annotation)
    )
    if not takes:
        raise AppInvalid(
            f'Python return annotation "{annotation.__name__}" does not match binding type "{binding_type}"'
        )


def _check_retry(policy: Mapping[str, Any] | None) -> None:
    """Intervals are hours, minutes and whole seconds to the worker."""
    if not policy:
        return
    int(policy["max_retry_count"])
    strategy = policy.get("strategy")
    if strategy not in _INTERVALS:
        raise AppInvalid(f'unknown enum label "{strategy}": a retry strategy is {" or ".join(_INTERVALS)}')
    for interval in _INTERVALS[strategy]:
        if strategy == FIXED_DELAY or policy.get(interval):
            time.strptime(policy.get(interval), "%H:%M:%S")  # type: ignore[arg-type]  # None is refused by name
