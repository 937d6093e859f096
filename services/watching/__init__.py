"""What operators watch: logs, metrics and traces."""
