"""Whether the native coder that is installed makes what the format says.

A package of another version, or what a power cut left of one, is noticed before a patch is asked for that needs it:
what came over a thin link would be refused as damaged.

Source: docs/formats/context-mixing.md, docs/adr/0039.
"""

from __future__ import annotations

import io
from functools import cache
from types import ModuleType

BITS, PLACE = 8, 4096
_SITE_BYTES = 16
_SITES = range(24)
OLD = b"".join(
    (site * site * 0x9E3779B1).to_bytes(9, "big") + b"\x48\x8b\x05" + (900 - 16 * site).to_bytes(4, "little")
    for site in _SITES
)
"""Noise, and loads of one thing from places that follow each other."""
NUMBERS = [2 * (_SITE_BYTES * site + 12) for site in _SITES]
DIFFERENCES = b"".join(bytes([0] * 5 + [site // 20] + [0] * 6 + [7 + site % 3, 0, 0, 0]) for site in _SITES)
CODED_DIFFERENCES = bytes.fromhex("937d75934493b2d0ebc99f643d3ddac05ac4a231e18726")
CODED_BYTES = bytes.fromhex(
    "ff5519221e3299172e3c8fbbc4764b98b102d0d5fcd00e24768a3b47bb5a4378af02f8312e64dbbd0f1fb345988afca5"
    "84459534e8de5ddf477a6c11b760e6c08ec762221f39412d8df8120bc243d1413f2fd021ab6b59f9a2c57e4ba35ff7f6"
    "681c670583ac5b3f3b48e4712d094afc093f873dd6d2bed9383cb22fd1ee0cb3bb3685143a5d505f7fab1cb64c4936f2"
    "ab892fe2c295ae71ea9eb11278ce71cb7e36a5538ce9327bc8a2e3bf7d4dbd9ed6d74d52d01d0f153edb4aed5e85bda9"
    "5118473e"
)
"""``OLD``, as new bytes."""


@cache
def codes_as_stated(package: ModuleType) -> bool:
    """Whether it decodes a sample right; some milliseconds, once."""
    try:
        differences = package.ResidualDecoder(io.BytesIO(CODED_DIFFERENCES).read, BITS)
        new = package.BytesDecoder(io.BytesIO(CODED_BYTES).read, BITS)
        return (differences.span(OLD, NUMBERS, PLACE), new.make(len(OLD))) == (DIFFERENCES, OLD)
    except Exception:  # whatever half a package does
        return False
