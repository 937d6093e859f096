"""Lists of installed files in all the forms that tools leave: what the digests are of is found, or they are sent."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from imagedelta.delta.format.listed import MAX_FILLS
from imagedelta.delta.format.profiles import V1_64M, V2_64M
from tests.images import BuiltImage, an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, layers_of
from tests.vectors.reader import Patch

Files = dict[str, bytes]
Lists = Callable[[Files], bytes]
COUNT = 30


def noise(seed: str) -> bytes:
    return random.Random(seed).randbytes(70)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def base64_of(data: bytes, algorithm: str = "sha256") -> str:
    return base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()


def lines(form: Callable[[str, bytes], str], end: str = "\n", encoding: str = "utf-8") -> Lists:
    """Return what writes a line for each file."""
    return lambda files: "".join(form(path, data) + end for path, data in files.items()).encode(encoding)


MD5SUMS = {
    "as dpkg has it": lines(lambda path, data: f"{md5(data)}  {path}"),
    "a dot before": lines(lambda path, data: f"{md5(data)}  ./{path}"),
    "twice the same": lines(lambda path, data: f"{md5(data)}  {path}\n{md5(data)}  {path}"),
    "of /usr as of the root": lines(lambda path, data: f"{md5(data)}  {path.removeprefix('usr/')}"),
    "with roundabouts": lines(lambda path, data: f"{md5(data)}  usr//share/../share/{path.removeprefix('usr/share/')}"),
}
MD5SUMS_SENT = {
    "a slash before": lines(lambda path, data: f"{md5(data)}  /{path}"),
    "one space": lines(lambda path, data: f"{md5(data)} {path}"),
    "capitals": lines(lambda path, data: f"{md5(data).upper()}  {path}"),
    "binary mark": lines(lambda path, data: f"{md5(data)} *{path}"),
    "escaped": lines(lambda path, data: f"\\{md5(data)}  {path}\\n"),
    "other line ends": lines(lambda path, data: f"{md5(data)}  {path}", "\r\n"),
    "above the root": lines(lambda path, data: f"{md5(data)}  ../../{path}"),
    "no path": lines(lambda path, data: f"{md5(data)}  "),
    "16-bit characters": lines(lambda path, data: f"{md5(data)}  {path}", encoding="utf-16"),
}
RECORD = {
    "as pip has it": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data)},{len(data)}"),
    "other line ends": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data)},{len(data)}", "\r\n"),
    "no size": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data)},"),
    "compiled modules without digests": lines(
        lambda path, data: f"{path[10:]},sha256={base64_of(data)},9\n{path[10:]}c,,"
    ),
    "below the prefix": lines(lambda path, data: f"../share/{path[10:]},sha256={base64_of(data)},{len(data)}"),
}
RECORD_SENT = {
    "quoted": lines(lambda path, data: f'"{path[10:]}",sha256={base64_of(data)},{len(data)}'),
    "SHA-512": lines(lambda path, data: f"{path[10:]},sha512={base64_of(data, 'sha512')},{len(data)}"),
    "hexadecimal": lines(lambda path, data: f"{path[10:]},sha256={hashlib.sha256(data).hexdigest()},{len(data)}"),
    "padded": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data)}=,{len(data)}"),
    "backslashes": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data)},1".replace("/", "\\")),
    "wrong digests": lines(lambda path, data: f"{path[10:]},sha256={base64_of(data + b'!')},{len(data)}"),
}


def an_installed(listed: Lists, at: str, version: int, names: Callable[[int], str]) -> BuiltImage:
    files = {f"usr/share/{names(number)}": noise(f"{number} {version}") for number in range(COUNT)}
    return an_image({**files, at: listed(files)})


def plainly(number: int) -> str:
    return f"pkg/f{number:02}"


def oddly(number: int) -> str:
    """Names with what separates fields, and with letters beyond ASCII."""
    return f"pkg/f{number:02}, of{'  two' * (number % 2)} \N{LATIN SMALL LETTER E WITH ACUTE}.txt"


CASES = [
    pytest.param(form, at, is_found, id=f"{at[-6:]}: {name}")
    for at, forms, is_found in (
        ("var/lib/dpkg/info/pkg.md5sums", MD5SUMS, True),
        ("var/lib/dpkg/info/pkg.md5sums", MD5SUMS_SENT, False),
        ("usr/share/zz.dist-info/RECORD", RECORD, True),
        ("usr/share/zz.dist-info/RECORD", RECORD_SENT, False),
    )
    for name, form in forms.items()
]


@pytest.mark.parametrize("names", [plainly, oddly])
@pytest.mark.parametrize(("listed", "at", "is_found"), CASES)
def test_a_list_of_any_form_is_made(
    tmp_path: Path, listed: Lists, at: str, is_found: bool, names: Callable[[int], str]
) -> None:
    source, target = (an_installed(listed, at, version, names) for version in (1, 2))

    first, second = (a_patch(target, source, scratch=tmp_path, profile=profile)[0] for profile in (V1_64M, V2_64M))

    assert_rebuilt(target, second, source)
    assert read_otherwise(second, source) == (target.image.config, layers_of(target))
    assert (len(first) - len(second) > 12 * COUNT) == is_found


def test_digests_of_what_another_layer_replaced_are_those_of_the_file_that_has_them(tmp_path: Path) -> None:
    files = {f"usr/share/pkg/f{number}": noise(f"{number} new") for number in range(COUNT)}
    older = {path: noise(path) for path in files}
    sums = lines(lambda path, data: f"{md5(data)}  {path}")
    at = "var/lib/dpkg/info/pkg.md5sums"
    target = an_image(older, {**files, at: sums(files)}, {"usr/share/pkg/.wh.f1": b"", at: sums(older)})

    patch, _ = a_patch(target, scratch=tmp_path, profile=V2_64M)

    assert_rebuilt(target, patch)
    assert read_otherwise(patch) == (target.image.config, layers_of(target))


def test_of_more_digests_than_a_list_may_have_the_rest_is_sent(tmp_path: Path) -> None:
    files = {f"usr/share/pkg/f{number}": noise(f"{number}") for number in range(4)}
    sums = lines(lambda path, data: f"{md5(data)}  {path}")(files)
    target = an_image({**files, "var/lib/dpkg/info/pkg.md5sums": sums * (MAX_FILLS // 4 + 9)})

    patch, _ = a_patch(target, scratch=tmp_path, profile=V2_64M)

    assert_rebuilt(target, patch)


def read_otherwise(patch: bytes, *sources: BuiltImage) -> tuple[bytes, dict[str, bytes]]:
    return Patch(patch, layers_of(*sources), {each.image_id: each.image.config for each in sources}).apply()
