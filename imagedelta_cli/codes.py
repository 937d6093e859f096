"""Codes of the command line, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "registry.credentials": "Correct config.json in ~/.docker or DOCKER_CONFIG, or `docker login HOST` anew.",
    "dependency.daemon": "Start Docker, or name its daemon with DOCKER_HOST (`imagedelta doctor` tells what is wrong).",
    "cli.library_missing": "Install it with this project's extras, e.g. pip install 'imagedelta[host]'.",
    "dependency.host": "Look whether the host runs and can be reached, then try again.",
    "cli.no_host": "Start one here with `imagedelta host start`, or name it with --url and --key.",
    "cli.wrong_key": "Give a function key of the host with --key or IMAGEDELTA_KEY; where platform authentication "
    "is on, sign in (`az login`) and name its application with --audience api://CLIENT-ID or IMAGEDELTA_AUDIENCE.",
    "cli.not_signed_in": "Sign in by `az login`; on an agent run in AzureCLI@2 with SYSTEM_ACCESSTOKEN, or give the "
    "machine an identity. Look whether --audience is the application of the deployment.",
    "cli.not_confirmed": "Say it with --yes, if it is meant.",
    "cli.stopped": "Run it again, or go on as it says.",
    "cli.over_limit": "Make the update cheaper (`imagedelta advise OLD NEW` says how), or raise --max-bytes.",
    "cli.not_registered": "Register it first: imagedelta register.",
    "cli.usage": "See --help of the command.",
    "cli.old_host": "Install the version of this command line that belongs to the host (`imagedelta status` tells it). "
    "Where they are the same, run it again with IMAGEDELTA_DEBUG=1 and report what it prints.",
    "cli.hub_elsewhere": "Run this where the host runs; for Azure take the connection from the IoT Hub: az iot hub "
    "module-identity connection-string show.",
    "cli.no_database": "Set IMAGEDELTA_DATABASE_URL, and name the folder of the function app with --app.",
    "cli.upload": "Look at the storage that the host names for uploads; its answer says what it did not like.",
    "cli.upload_over": "Run the command again: it asks the host for a new upload.",
    "cli.export_gone": "Run the command again: what it had already is kept, and the host says what there is by now.",
    "cli.export_folder": "Name an empty folder, or that of an earlier export for the same device.",
    "cli.output_exists": "Choose another name, or replace the file with --force.",
    "cli.output_is_input": "Choose another name: what a command reads it never replaces.",
    "cli.output_unfit": "Name a file to write, a pipe, or - with stdout sent to a file or another program.",
    "cli.timeout": "It goes on without you: look again later, or wait longer with --timeout.",
    "set.needs_person": "Look at the set: its next step is a command for a person.",
    "set.not_completed": "Look at the set's members and events: each failed member has a code and what to do.",
    "dependency.moved": "Try again: the name was given to another image meanwhile.",
}
explain(REMEDIES)
