"""Microsoft's Python worker in a process of its own: ``python -P runner.py WORKER_FOLDER``, in the folder of an app.

It reads messages of the worker protocol (FunctionRpc.proto), one a line as JSON, has the worker's own code handle
them side by side, and writes each answer as one line, with the ``request_id`` of its message.

With ``--refusals APP…`` it tells instead how the worker refuses each of these folders, and with ``--verdicts`` how it
refuses each function of the folder it runs in: ``{folder or name: sentence, or None when it is taken}``.

Runs outside of the tests' process: nothing of the project but the app itself is imported here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO


def main() -> None:
    answers = _own_output()
    sys.path.insert(0, str(Path.cwd()))
    sys.path.append(sys.argv[1])  # last: what the app has of its own goes before what the worker brings
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    if "--verdicts" in sys.argv:
        print(json.dumps(_verdicts()), file=answers)
    elif "--refusals" in sys.argv:
        print(json.dumps(_refusals(sys.argv[3:])), file=answers)
    else:
        asyncio.run(_serve(sys.stdin, answers))


def _own_output() -> TextIO:
    """Standard output for answers alone: what the app prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return answers


async def _serve(requests: TextIO, answers: TextIO) -> None:
    import worker_protos as protos
    from azure_functions_runtime import handle_event
    from azure_functions_runtime.utils.threadpool import start_threadpool_executor
    from google.protobuf.json_format import MessageToDict, ParseDict

    async def answer(message: Any) -> None:
        handler = getattr(handle_event, message.WhichOneof("content"))
        event = SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos})
        told = MessageToDict(
            await handler(event), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        print(json.dumps({"request_id": message.request_id, "answer": told}), file=answers)

    start_threadpool_executor()
    running: set[asyncio.Task[None]] = set()
    while line := await asyncio.to_thread(requests.readline):
        task = asyncio.create_task(answer(ParseDict(json.loads(line), protos.StreamingMessage())))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)  # whoever asked is gone: nobody takes what still runs


def _refusals(apps: list[str]) -> dict[str, str | None]:
    """Each app in a process of its own, forked from this one, which has the worker loaded already."""
    import azure.durable_functions  # noqa: F401
    import worker_protos  # noqa: F401
    from azure_functions_runtime import handle_event  # noqa: F401

    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return dict(zip(apps, pool.map(_refusal, apps, chunksize=1), strict=True))


def _refusal(app: str) -> str | None:
    import worker_protos as protos
    from azure_functions_runtime import handle_event

    os.chdir(app)
    sys.path.insert(0, app)
    init = protos.WorkerInitRequest(host_version="4", function_app_directory=app)
    message = protos.StreamingMessage(worker_init_request=init)
    event = SimpleNamespace(request=message, properties={"host": "127.0.0.1", "protos": protos})
    result = asyncio.run(handle_event.worker_init_request(event)).result
    return None if result.status == protos.StatusResult.Success else result.exception.message


def _verdicts() -> dict[str, str | None]:
    import worker_protos as protos
    from azure_functions_runtime import loader
    from azure_functions_runtime.bindings import meta

    meta.load_binding_registry()
    found = loader.index_function_app("function_app.py")
    return {function.get_function_name(): _verdict(loader, protos, function) for function in found}


def _verdict(loader: Any, protos: Any, function: Any) -> str | None:
    from azure_functions_runtime.functions import Registry

    try:
        loader.process_indexed_function(protos, Registry(), [function], str(Path.cwd()))
    except Exception as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()
