"""The function app: wiring only. What runs when is decided in triggers, orchestrators and activities.

Indexing needs no setting: the event hub triggers follow from the hubs that are configured, and the ports are
made when a function first runs. A setting that is there and wrong keeps the app from starting.
"""

from __future__ import annotations

import os

import azure.durable_functions as df
import azure.functions as func

from activities import STEPS
from activities.attend import attend
from activities.binding import bind
from activities.purge import purge
from orchestrators import ORCHESTRATORS
from services.factory import check_settings, deps
from services.hubs.settings import hub_names, hub_variable
from services.watching.logs import set_up_logs
from services.watching.quiet_libraries import quiet_libraries
from triggers.due import serve_start_due
from triggers.gate import KeyGate, RoleGate
from triggers.hub_events import serve_events
from triggers.serving import serve_read, serve_unknown, serve_work
from triggers.table import ALL
from triggers.timer import serve_timer
from triggers.timer_retention import serve_retention

quiet_libraries()
settings = check_settings()
set_up_logs(settings.telemetry.log_format)
callers = settings.callers
gate = RoleGate(callers.tenant) if callers.by_platform else KeyGate()

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

_EVERY_METHOD = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
"""Of every route, so that a wrong method is answered by us (405) and not by the host (404)."""

for resource in ALL:
    level = func.AuthLevel.FUNCTION if gate.keys and not resource.anonymous else func.AuthLevel.ANONYMOUS
    if resource.starts_work:
        handler = app.durable_client_input(client_name="client")(serve_work(resource, deps, gate))
    else:
        handler = serve_read(resource, deps, gate)
    handler = app.route(route=resource.path, methods=_EVERY_METHOD, auth_level=level)(handler)
    app.function_name(resource.name)(handler)

# sorts after every other name: the host tries routes in the order of the functions' names
app.function_name("unknown_path")(
    app.route(route="{*path}", methods=_EVERY_METHOD, auth_level=func.AuthLevel.ANONYMOUS)(serve_unknown)
)

for name in hub_names(os.environ):
    handler = app.durable_client_input(client_name="client")(serve_events(name, deps))
    handler = app.event_hub_message_trigger(
        arg_name="events",
        event_hub_name=os.environ.get(hub_variable(name, "EVENTS_NAME"), name),
        connection=hub_variable(name, "EVENTS"),
        consumer_group=os.environ.get(hub_variable(name, "CONSUMER_GROUP"), "$Default"),
        cardinality=func.Cardinality.MANY,
        data_type=func.DataType.BINARY,
    )(handler)
    handler = app.retry(
        strategy="exponential_backoff", max_retry_count="8", minimum_interval="00:00:02", maximum_interval="00:05:00"
    )(handler)
    app.function_name(f"hub_events_{name.replace('-', '_')}")(handler)

timer = app.durable_client_input(client_name="client")(serve_timer(attend, deps))
timer = app.timer_trigger(
    arg_name="timer", schedule=os.environ.get("TIMER_SCHEDULE", "0 * * * * *"), use_monitor=False
)(timer)
app.function_name("timer")(timer)

retention = app.durable_client_input(client_name="client")(serve_retention(bind(purge, deps), deps))
retention = app.timer_trigger(
    arg_name="timer", schedule=os.environ.get("RETENTION_SCHEDULE", "0 17 * * * *"), use_monitor=False
)(retention)
app.function_name("timer_retention")(retention)

for orchestrator in ORCHESTRATORS:
    app.orchestration_trigger(context_name="context")(orchestrator)

for step in STEPS:
    app.activity_trigger(input_name="payload")(bind(step, deps))

app.activity_trigger(input_name="payload")(app.durable_client_input(client_name="client")(serve_start_due(deps)))
