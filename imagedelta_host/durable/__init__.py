"""Durable Functions 1.x: orchestrations on SQLite, for the unmodified azure-functions-durable SDK."""
