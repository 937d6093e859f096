"""Deployment sets: orders, members, releases, figures, notifications."""
