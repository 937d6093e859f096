"""The image's config without the digests that are in the head of the patch anyway.

Each layer's digest, 64 hex digits, becomes 0xFF and the layer's position; 0xFF itself, which UTF-8 never
has, becomes 0xFF 0xFF. Saves about 35 bytes per layer, since hex of a digest does not compress.

Source: docs/formats/patch.md, section 4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from imagedelta.errors import ContentError

_ESCAPE = 0xFF
_HEX = re.compile(rb"[0-9a-f]{64}")
_ESCAPED = re.compile(rb"\xff(.)?", re.DOTALL)


def shorten(config: bytes, diff_ids: Sequence[str]) -> bytes:
    """Replace the digests of ``diff_ids`` in ``config``."""
    positions = {_hex(diff_id): position for position, diff_id in reversed(list(enumerate(diff_ids[:_ESCAPE])))}

    def replaced(match: re.Match[bytes]) -> bytes:
        position = positions.get(match[0])
        return match[0] if position is None else bytes([_ESCAPE, position])

    return _HEX.sub(replaced, config.replace(b"\xff", b"\xff\xff"))


def restore(text: bytes, diff_ids: Sequence[str], size: int) -> bytes:
    """Undo ``shorten``.

    Args:
        size: What the config must have, in bytes.

    Raises:
        ContentError: It names a layer that is not there, or the size differs.
    """
    digests = [_hex(diff_id) for diff_id in diff_ids]
    config = bytearray()
    at = 0
    for match in _ESCAPED.finditer(text):
        config += text[at : match.start()] + _unescaped(match[1], digests)
        at = match.end()
        if len(config) > size:
            break
    config += text[at:]
    if len(config) != size:
        raise ContentError(f"the config of the patch has {len(config)} bytes instead of {size}")
    return bytes(config)


def _unescaped(code: bytes | None, digests: Sequence[bytes]) -> bytes:
    if code == b"\xff":
        return code
    if not code or code[0] >= len(digests):
        raise ContentError(f"the config of the patch names a layer that is not among its {len(digests)}")
    return digests[code[0]]


def _hex(diff_id: str) -> bytes:
    return diff_id.removeprefix("sha256:").encode()
