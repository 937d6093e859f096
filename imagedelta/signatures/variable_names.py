"""The parts of a path that change from version to version: ``libicudata.so.72.1``, ``main.3f2a91bc.js``.

Ranking and planning leave them out alike, so what ranking takes for an old version is what a patch starts from.
"""

from __future__ import annotations

import re

VARIABLE = re.compile(rb"(?<![0-9A-Za-z])(?=[0-9a-z]*[0-9])[0-9a-z]{8,}(?![0-9A-Za-z])|[0-9]+")
"""Digits, and what a bundler made of the content."""
