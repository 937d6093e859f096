"""The embedded host: serves an Azure Functions app (Python v2 model) in one process, with state in SQLite.

It knows the Functions and Durable contracts and nothing of any particular app.
"""

import imagedelta_host.codes  # noqa: F401 - explains them
