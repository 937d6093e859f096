"""Digests that a file lists of others, as lists of installed packages do: filled in from what the patch made before.

A digest is noise to every coder. Of files that the patch makes itself, both sides can compute it.

Source: docs/formats/patch.md, section 4a.
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections.abc import Callable, Iterable
from enum import IntEnum, IntFlag
from typing import NamedTuple

from imagedelta import leb128
from imagedelta.errors import ContentError

MAX_LISTED = 1 << 15
"""Files whose digests are listed, of a patch."""
MAX_FILLS = 1 << 16
"""Digests in one file."""
_MD5_BYTES, _SHA256_BYTES = hashlib.md5(usedforsecurity=False).digest_size, hashlib.sha256().digest_size
LISTED_BYTES = MAX_LISTED * (_MD5_BYTES + _SHA256_BYTES + 1) + 8 * MAX_FILLS
"""What a device keeps of them at most."""


class Mark(IntFlag):
    """What is done with the data of a file, as bits."""

    MD5 = 1
    """Its MD5 is listed later; ``SHA256`` its SHA-256."""
    SHA256 = 2
    FILLED = 4
    """Digests of earlier files are filled in."""


NO_MARKS = Mark(0)
ALL_MARKS = Mark.MD5 | Mark.SHA256 | Mark.FILLED


class Form(IntEnum):
    """How a digest is written."""

    MD5 = 0
    """32 hex digits."""
    SHA256 = 1
    """64 hex digits."""
    SHA256_BASE64 = 2
    """43 characters of URL-safe base64, without padding."""


_FORM_BITS = 2
LENGTHS = {Form.MD5: 32, Form.SHA256: 64, Form.SHA256_BASE64: 43}
MARKS = {Form.MD5: Mark.MD5, Form.SHA256: Mark.SHA256, Form.SHA256_BASE64: Mark.SHA256}


class Marked(NamedTuple):
    """A stretch of data, begun by an item, and what is done with it."""

    marks: Mark
    length: int


class Fill(NamedTuple):
    """A digest in a file."""

    at: int
    form: Form
    number: int
    """Of the file, among those whose digests are listed."""


def write_fills(fills: Iterable[Fill]) -> bytes:
    """Return the list of digests in a file, in ascending order."""
    listed = list(fills)
    out = bytearray(leb128.encode(len(listed)))
    end = expected = 0
    for at, form, number in listed:
        out += leb128.encode(at - end)
        out += leb128.encode(leb128.zigzag(number - expected) << _FORM_BITS | form)
        end, expected = at + LENGTHS[form], number + 1
    return bytes(out)


class Fills:
    """The digests in a file as they are read; eight bytes of memory for each."""

    def __init__(self, number: Callable[[], int], length: int, listed: Listed) -> None:
        """Args:
        number: Reads the next number of the stream.
        length: Of the file.

        Raises:
            ContentError: One is not inside the file, or of a file that has none so far.
        """
        count = number()
        if count > MAX_FILLS:
            raise ContentError(f"{count} digests in one file, at most {MAX_FILLS}")
        self._places = array("Q")
        self._which = array("I")
        end = expected = 0
        for _ in range(count):
            end += number()
            code = number()
            form, which = code & (1 << _FORM_BITS) - 1, expected + leb128.unzigzag(code >> _FORM_BITS)
            if form > Form.SHA256_BASE64 or not listed.has(which, MARKS[Form(form)]):
                raise ContentError(f"a digest of form {form} of file {which}, of which there is none")
            at, end, expected = end, end + LENGTHS[Form(form)], which + 1
            if end > length:
                raise ContentError(f"a digest that ends at {end} of a file of {length} bytes")
            self._places.append(at)
            self._which.append(which << _FORM_BITS | form)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Fill:
        which = self._which[index]
        return Fill(self._places[index], Form(which & (1 << _FORM_BITS) - 1), which >> _FORM_BITS)


class Listed:
    """The digests of the files whose digests are listed, in the order in which they were made."""

    def __init__(self) -> None:
        self._marks = bytearray()
        self._digests = bytearray()

    def add(self, marks: Mark, md5: bytes, sha256: bytes) -> None:
        """Append those of a file; without those that are not listed.

        Raises:
            ContentError: There are too many.
        """
        if len(self._marks) == MAX_LISTED:
            raise ContentError(f"digests of more than {MAX_LISTED} files are listed")
        self._marks.append(marks)
        self._digests += md5.ljust(_MD5_BYTES, b"\0") + sha256.ljust(_SHA256_BYTES, b"\0")

    def has(self, number: int, mark: Mark) -> bool:
        """Whether there is such a digest of a file."""
        return 0 <= number < len(self._marks) and bool(self._marks[number] & mark)

    def text(self, form: Form, number: int) -> bytes:
        """Return a digest as it is written."""
        at = number * (_MD5_BYTES + _SHA256_BYTES)
        md5 = self._digests[at : at + _MD5_BYTES]
        sha256 = self._digests[at + _MD5_BYTES : at + _MD5_BYTES + _SHA256_BYTES]
        return written(form, bytes(md5 if form is Form.MD5 else sha256))


def written(form: Form, digest: bytes) -> bytes:
    """Return the text of a digest."""
    if form is Form.SHA256_BASE64:
        return base64.urlsafe_b64encode(digest).rstrip(b"=")
    return digest.hex().encode()
