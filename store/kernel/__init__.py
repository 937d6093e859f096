"""What every area of the store stands on: connections, schema, moves, history, pages."""
