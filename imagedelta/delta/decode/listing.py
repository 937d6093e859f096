"""The data of a file passes by: digests of earlier files are filled in, and its own are taken.

Source: docs/formats/patch.md, section 4a.
"""

from __future__ import annotations

import hashlib

from imagedelta.delta.format.listed import LENGTHS, Fills, Listed, Mark, Marked


class Passing:
    """The data of one file."""

    def __init__(self, marked: Marked, fills: Fills | None, listed: Listed) -> None:
        self._marks, self._left, self._listed = marked.marks, marked.length, listed
        self._fills, self._next, self._at = fills, 0, 0
        self._md5 = hashlib.md5(usedforsecurity=False) if Mark.MD5 in self._marks else None
        self._sha256 = hashlib.sha256() if Mark.SHA256 in self._marks else None

    @property
    def is_listed(self) -> bool:
        """Whether its digests are needed, so that it must be made."""
        return bool(self._marks & (Mark.MD5 | Mark.SHA256))

    @property
    def left(self) -> int:
        """Bytes that did not pass yet."""
        return self._left

    def filled(self, data: bytes) -> bytes:
        """Take the next bytes; return them with digests filled in."""
        end = self._at + len(data)
        if self._fills and self._next < len(self._fills) and self._fills[self._next].at < end:
            data = self._fill(data, self._fills)
        for digest in (self._md5, self._sha256):
            if digest:
                digest.update(data)
        self.skip(len(data))
        return data

    def skip(self, length: int) -> None:
        """Pass by bytes that nobody needs."""
        self._at += length
        self._left -= length

    def end(self) -> None:
        """All data has passed: keep its digests."""
        if self.is_listed:
            md5 = self._md5.digest() if self._md5 else b""
            self._listed.add(self._marks, md5, self._sha256.digest() if self._sha256 else b"")

    def _fill(self, data: bytes, fills: Fills) -> bytes:
        out, end = bytearray(data), self._at + len(data)
        while self._next < len(fills) and fills[self._next].at < end:
            at, form, number = fills[self._next]
            text = self._listed.text(form, number)
            first, last = max(at, self._at), min(at + LENGTHS[form], end)
            if first < last:  # else all of it was skipped
                out[first - self._at : last - self._at] = text[first - at : last - at]
            if last < at + LENGTHS[form]:
                break  # it goes on in the next piece
            self._next += 1
        return bytes(out)
