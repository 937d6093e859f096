"""Transfers, their patches and bundles, and what devices report of them."""
