"""An app that hangs and blocks where it should not; every function here must leave the host alive."""

from __future__ import annotations

import os
import time
import urllib.request

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="blocks", methods=["GET"])
async def blocks(req: func.HttpRequest) -> str:
    """Call this very host from ``async def`` without awaiting: a habit that must not stop the host."""
    with urllib.request.urlopen(f"{os.environ['LOCAL_HOST_URL']}/api/answers", timeout=5) as answer:
        return answer.read().decode()


@app.route(route="answers", methods=["GET"])
def answers(req: func.HttpRequest) -> str:
    return "an answer"


@app.route(route="run/{orchestrator}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def run(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    instance = await client.start_new(req.route_params["orchestrator"])
    return await client.wait_for_completion_or_create_check_status_response(req, instance, 20000, 50)


@app.activity_trigger(input_name="payload")
def hangs(payload: None) -> None:
    time.sleep(3600)


@app.orchestration_trigger(context_name="context")
def hanging(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("hangs")
    except Exception as error:
        return str(error).splitlines()[0]
