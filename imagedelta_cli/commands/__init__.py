"""One command per file: ``command`` is a click command or group (see imagedelta_cli.lazy)."""
