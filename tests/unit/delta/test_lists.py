"""Digests that lists of installed files have of files of the patch are filled in by the device."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.delta import apply_patch
from imagedelta.delta.encode import lists
from imagedelta.delta.encode.build import Build
from imagedelta.delta.encode.verify import verify_patch
from imagedelta.delta.format.listed import MAX_LISTED, Fill, Fills, Form, Listed, Mark, write_fills, written
from imagedelta.delta.format.profiles import V1_64M, V2_64M
from imagedelta.errors import ContentError
from imagedelta.leb128 import decode
from tests.images import BuiltImage, a_layer, an_image
from tests.unit.delta.patches import MemorySink, a_patch, assert_rebuilt, content_of, layers_of

COUNT = 60


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def sha256(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def dpkg(files: dict[str, bytes], *, merged: bool = False) -> dict[str, bytes]:
    """Files and dpkg's list of them; ``merged`` where it says /lib of what is in /usr/lib."""
    lines = [f"{md5(data)}  {path.removeprefix('usr/') if merged else path}\n" for path, data in files.items()]
    return {**files, "var/lib/dpkg/info/some.md5sums": "".join(lines).encode()}


def pip(files: dict[str, bytes], end: str = "\n") -> dict[str, bytes]:
    """Files below ``site/`` and pip's list of them, which is not in itself."""
    lines = [f"{path[5:]},sha256={sha256(data)},{len(data)}{end}" for path, data in files.items()]
    lines.append(f"some-1.dist-info/RECORD,,{end}")
    return {**files, "site/some-1.dist-info/RECORD": "".join(lines).encode()}


def some_files(folder: str, seed: int) -> dict[str, bytes]:
    return {f"{folder}/some/f{number:03}": noise(90, 1000 * seed + number) for number in range(COUNT)}


def patched(tmp_path: Path, target: BuiltImage, *sources: BuiltImage) -> dict[str, int]:
    """The sizes of the patches of both formats, which rebuild the target; ``v2`` is verified, too."""
    sizes = {}
    for profile in (V1_64M, V2_64M):
        patch, _ = a_patch(target, *sources, scratch=tmp_path, profile=profile)
        assert_rebuilt(target, patch, *sources)
        verify_patch(io.BytesIO(patch), content_of(target), [content_of(source) for source in sources])
        sizes[profile.name[:2]] = len(patch)
    return sizes


@pytest.mark.parametrize(
    ("listed", "folder", "digest_bytes"),
    [
        (dpkg, "usr/lib", 16),
        (lambda files: dpkg(files, merged=True), "usr/lib", 16),
        (pip, "site", 32),
        (lambda files: pip(files, "\r\n"), "site", 32),
    ],
    ids=["dpkg", "dpkg with merged /usr", "pip", "pip with other line ends"],
)
def test_digests_of_files_that_changed_cost_nothing(
    tmp_path: Path, listed: Callable[[dict[str, bytes]], dict[str, bytes]], folder: str, digest_bytes: int
) -> None:
    source, target = (an_image(listed(some_files(folder, seed))) for seed in (1, 2))

    sizes = patched(tmp_path, target, source)

    assert sizes["v1"] - sizes["v2"] > 0.9 * COUNT * digest_bytes


def test_a_first_image_and_files_in_layers_below_profit_too(tmp_path: Path) -> None:
    files = some_files("usr/share", 1)
    listed = dpkg(files).popitem()
    target = an_image(a_layer(files), a_layer(dict([listed])))

    sizes = patched(tmp_path, target)

    assert sizes["v1"] - sizes["v2"] > 0.8 * COUNT * 16


@pytest.mark.parametrize("fault", ["wrong", "later", "unknown", "few", "none"])
def test_digests_that_are_not_those_of_files_made_before_are_sent(tmp_path: Path, fault: str) -> None:
    def a_tree(seed: int) -> dict[str, bytes]:
        files = some_files("usr/share", seed)
        path, listed = dpkg(files).popitem()
        if fault == "wrong":
            listed = listed.translate(bytes.maketrans(b"0123456789abcdef", b"123456789abcdef0"))
        elif fault == "unknown":
            listed = listed.replace(b"usr/share", b"opt")
        elif fault == "few":
            files, listed = {path: files[path] for path in list(files)[:2]}, listed
        elif fault == "none":
            listed = b"\n" * 500
        return {path: listed, **files} if fault == "later" else {**files, path: listed}

    sizes = patched(tmp_path, an_image(a_tree(2)), an_image(a_tree(1)))

    assert abs(sizes["v1"] - sizes["v2"]) < 60


def test_no_more_is_read_for_digests_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (an_image(dpkg(some_files("usr/share", seed))) for seed in (1, 2))
    all_of_them = patched(tmp_path, target, source)["v2"]

    monkeypatch.setattr(lists, "_MOST_READ", 90 * COUNT // 2)
    half = patched(tmp_path, target, source)["v2"]
    monkeypatch.setattr(lists, "_LARGEST_READ", 89)
    none = patched(tmp_path, target, source)["v2"]

    assert all_of_them + 0.4 * COUNT * 16 < half < none - 0.4 * COUNT * 16


def test_files_are_read_for_their_digests_only_where_chunks_are_wanted(tmp_path: Path) -> None:
    source, target = (an_image(dpkg(some_files("usr/share", seed))) for seed in (1, 2))
    build = Build(content_of(target), [content_of(source)], V2_64M, tmp_path)

    weighed = build.work_bytes, build.header((), 0).full_bytes
    read_by_then = build.bytes_read

    assert min(weighed) > 90 * COUNT and read_by_then == 0
    assert build.chunks and build.bytes_read > 90 * COUNT


def test_a_list_is_made_of_files_whose_layer_is_there_already(tmp_path: Path) -> None:
    """A device that was killed behind the layer of the files goes on with that of the list."""
    sources = an_image(dpkg(some_files("usr/share", 1)))
    files = some_files("usr/share", 2)
    path, listed = dpkg(files).popitem()
    target = an_image(a_layer(files), a_layer({path: listed}))
    patch, _ = a_patch(target, sources, scratch=tmp_path, profile=V2_64M)
    there = dict([next(iter(layers_of(target).items()))])
    sink = MemorySink(there)

    apply_patch(io.BytesIO(patch), _readers(sources), {sources.image_id: sources.image.config}.__getitem__, sink)

    assert sink.layers == layers_of(target)
    assert sink.log == [f"{word} {target.image.diff_ids[1][7:13]}" for word in ("begin", "commit")]


def _readers(source: BuiltImage):
    from imagedelta.delta import BytesReader

    layers = {diff_id: BytesReader(data) for diff_id, data in layers_of(source).items()}
    return layers.__getitem__


@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from(Form), st.integers(0, 9)), max_size=40))
def test_digests_in_a_file_are_read_as_they_were_written(parts: list[tuple[int, Form, int]]) -> None:
    fills, end, listed = [], 0, Listed()
    for number in range(10):
        listed.add(Mark.MD5 | Mark.SHA256, bytes([number]) * 16, bytes([number]) * 32)
    for gap, form, number in parts:
        fills.append(Fill(end + gap, form, number))
        end += gap + len(written(form, bytes(16 if form is Form.MD5 else 32)))
    numbers = _numbers(write_fills(fills))

    read = Fills(numbers, end, listed)

    assert [read[at] for at in range(len(read))] == fills
    with pytest.raises(StopIteration):
        numbers()


def _numbers(data: bytes) -> Callable[[], int]:
    def walk():
        at = 0
        while at < len(data):
            value, at = decode(data, at)
            yield value

    return walk().__next__


def test_no_more_digests_are_kept_than_there_is_memory_for() -> None:
    listed = Listed()
    for _ in range(MAX_LISTED):
        listed.add(Mark.MD5, bytes(16), b"")

    with pytest.raises(ContentError, match="more than 32768"):
        listed.add(Mark.MD5, bytes(16), b"")
