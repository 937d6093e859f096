"""Whatever a file holds: what is unfolded for a patch folds back to the same bytes."""

import gzip
import io
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.decode.tapes import StreamTape
from imagedelta.delta.deflate.fold_list import read_folds, write_folds
from imagedelta.delta.deflate.folding import Folder
from imagedelta.delta.deflate.unfolding import unfold
from imagedelta.delta.encode.fold_finding import find_folds

_LIMIT = 1 << 20
_contents = st.lists(st.sampled_from([b"class ", b"\0" * 70, b"text of some length\n"]) | st.binary(max_size=40)).map(
    b"".join
)


def zipped(members: list[bytes], level: int, stored: bool, streamed: bool) -> bytes:
    out = io.BytesIO()
    if streamed:
        out.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(out, "w") as archive:
        for number, data in enumerate(members):
            way = zipfile.ZIP_STORED if stored and number % 2 else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(f"m{number}"), data, way, level)
    return out.getvalue()


_zips = st.builds(zipped, st.lists(_contents, max_size=5), st.integers(1, 9), st.booleans(), st.booleans())
_nested = st.builds(lambda inner, level: zipped([b"first", inner], level, True, False), _zips, st.integers(1, 9))
_gzips = st.builds(lambda data, level: gzip.compress(data, level, mtime=0), _contents, st.integers(1, 9))
_files = st.one_of(_zips, _nested, _gzips, st.binary(max_size=300))
_damaged = st.builds(
    lambda file, at, bytes_, cut: (file[:at] + bytes_ + file[at + len(bytes_) :])[: cut or None],
    _files,
    st.integers(0, 300),
    st.binary(max_size=4),
    st.integers(0, 300),
)
_any = st.one_of(_files, _damaged, st.builds(lambda a, b: a + b, st.binary(max_size=30), _files))


def reader(data: bytes):
    return lambda offset, length: data[offset : offset + length]


@settings(max_examples=400)
@given(_any, _any, st.integers(1, 500))
def test_what_is_unfolded_folds_back_to_the_same_bytes(file, base, piece):
    unfolded, base_out, again = io.BytesIO(), io.BytesIO(), io.BytesIO()
    folds = find_folds(reader(file), len(file), unfolded.write, _LIMIT)
    if folds is None:
        return
    base_folds = unfold(reader(base), len(base), base_out.write, _LIMIT)
    plain = unfolded.getvalue()

    listed = write_folds(folds, base_folds)
    tape = StreamTape("folds", iter([listed]), len(listed))
    read = read_folds(tape.number, base_folds, len(plain))
    tape.finish()
    folder = Folder(iter(read), again.write, len(plain))
    for at in range(0, len(plain), piece):
        folder.write(plain[at : at + piece])
    folder.finish()

    assert read == folds
    assert again.getvalue() == file


@settings(max_examples=100)
@given(_zips)
def test_every_member_of_a_plain_zip_is_unfolded(file):
    unfolded = io.BytesIO()
    folds = find_folds(reader(file), len(file), unfolded.write, _LIMIT) or []
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        packed = [info for info in archive.infolist() if info.compress_type and info.file_size]

    assert [fold.plain for fold in folds] == [info.file_size for info in packed]


def test_a_zip_bomb_stops_at_the_limit():
    bomb = zipped([bytes(50_000_000)], 9, False, False)
    written: list[int] = []

    assert unfold(reader(bomb), len(bomb), lambda data: written.append(len(data)), _LIMIT) is None
    assert sum(written) <= _LIMIT
