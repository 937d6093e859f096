"""Devices: enrolment, inventories, what their twins should hold."""
