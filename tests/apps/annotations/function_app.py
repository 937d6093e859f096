"""Every kind of annotation at every place where one may stand; most of it is refused, each function for itself."""

from __future__ import annotations

import collections.abc
import enum
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp()
T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    pass


class Able(typing.Protocol):
    pass


class Fields(typing.TypedDict):
    a: int


class Color(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int


class Context:
    """Has the name of azure.functions.Context and is not it."""


ANNOTATIONS: list[Any] = [
    *(int, str, bytes, bytearray, dict, list, tuple, object, type, type(None), None, Any, "int", "Nowhere", 5, ...),
    *(typing.List, typing.List[int], typing.Dict[str, int], typing.Mapping, typing.Iterable[int], typing.Type[int]),  # noqa: UP006
    *(list[int], dict[str, int], tuple[int], type[int], collections.abc.Sequence[int], collections.abc.Mapping),
    *(typing.Optional[int], int | None, typing.Union[int, str], typing.Tuple[int], typing.Tuple),  # noqa: UP006, UP007, UP045
    *(typing.Callable, typing.Callable[[int], int], Callable[[int], int], typing.Callable[..., Any]),
    *(typing.Literal["a"], typing.Annotated[int, 1], typing.ClassVar[int], typing.NewType("Id", int), T),
    *(Box, Box[int], Able, Fields, Color, Point, Context, typing.Generic, typing.NoReturn),
    *(func.Out, func.Out[str], func.Out[bytes], func.Out[int], func.Out[typing.List[str]], func.Out[list[str]]),  # noqa: UP006
    *(func.Out[func.HttpResponse], func.HttpRequest, func.HttpResponse, func.TimerRequest, func.Context),
    *(func.EventHubEvent, typing.List[func.EventHubEvent], list[func.EventHubEvent], func.QueueMessage),  # noqa: UP006
    *(df.DurableOrchestrationContext, df.DurableOrchestrationClient, func.ServiceBusMessage, func.InputStream),
]

HUB = {"event_hub_name": "h", "connection": "C"}


def of_hub(**settings: Any) -> Callable[..., Any]:
    return app.event_hub_message_trigger(arg_name="it", **HUB, **settings)


def returning(make: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose return value is annotated, not its parameter."""

    def decorate(run: Callable[..., Any]) -> Any:
        run.__annotations__ = {"return": run.__annotations__["it"]}
        return make(run)

    return decorate


def beside(parameter: str, make: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose second parameter is annotated."""

    def decorate(run: Callable[..., Any]) -> Any:
        def two(it, other): ...

        two.__annotations__ = {parameter: run.__annotations__["it"]}
        return make(_renamed(two, parameter))

    return decorate


def _renamed(run: Callable[..., Any], parameter: str) -> Callable[..., Any]:
    import inspect

    one, other = inspect.signature(run).parameters.values()
    run.__signature__ = inspect.Signature([one, other.replace(name=parameter)])  # type: ignore[attr-defined]
    return run


PLACES: dict[str, Callable[..., Any]] = {
    "http": app.route(route="x", trigger_arg_name="it"),
    "http_return": returning(app.route(route="x", trigger_arg_name="it")),
    "http_context": beside("context", app.route(route="x", trigger_arg_name="it")),
    "http_out": beside(
        "out",
        lambda run: app.route(route="x", trigger_arg_name="it")(
            app.blob_output(arg_name="out", path="c/b", connection="C")(run)
        ),
    ),
    "http_in": beside(
        "text",
        lambda run: app.route(route="x", trigger_arg_name="it")(
            app.blob_input(arg_name="text", path="c/b", connection="C", data_type=func.DataType.STRING)(run)
        ),
    ),
    "timer": app.timer_trigger(arg_name="it", schedule="0 * * * * *"),
    "timer_return": returning(app.timer_trigger(arg_name="it", schedule="0 * * * * *")),
    "hub_many": of_hub(cardinality=func.Cardinality.MANY, data_type=func.DataType.BINARY),
    "hub_one": of_hub(cardinality=func.Cardinality.ONE),
    "hub_undefined": of_hub(data_type=func.DataType.UNDEFINED),
    "activity": app.activity_trigger(input_name="it"),
    "activity_return": returning(app.activity_trigger(input_name="it")),
    "queue": app.queue_trigger(arg_name="it", queue_name="q", connection="C"),
    "unknown": app.generic_trigger(arg_name="it", type="weatherTrigger"),
    "unknown_text": app.generic_trigger(arg_name="it", type="weatherTrigger", data_type=func.DataType.STRING),
}


def register(place: str, number: int, annotation: Any) -> None:
    def run(it): ...

    run.__annotations__ = {"it": annotation}
    app.function_name(f"{place}_{number}")(PLACES[place](run))


for place in PLACES:
    for number, annotation in enumerate(ANNOTATIONS):
        register(place, number, annotation)
