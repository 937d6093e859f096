"""Codes of the embedded host, and what their reader can do."""

from __future__ import annotations

from imagedelta.errors import explain

REMEDIES = {
    "host.start": "Read the message: it names what keeps the embedded host from starting.",
    "host.app_invalid": "Correct function_app.py; the message and the traceback name the place.",
    "host.binding_unsupported": "Use a trigger that the embedded host serves, or disable the function on this machine.",
    "host.state_damaged": "Put back a copy of the state folder, or do what the message says to go on without.",
    "host.setting_invalid": "Correct the named setting in host.json, local.settings.json or the environment.",
    "host.state_in_use": "Stop the other host, or choose another folder with --state.",
    "host.port_taken": "Choose another port with --port, or 0 for any free one.",
    "host.function_missing": "Correct the name, or add the function to the app.",
    "host.instance_exists": "Wait until the instance has ended, terminate it, or use another id.",
    "host.rewind_impossible": "Restart the instance: it ran under an older version of the embedded host.",
    "host.non_deterministic": "Start the work anew; orchestrators may change only when none of their instances runs.",
}
explain(REMEDIES)
