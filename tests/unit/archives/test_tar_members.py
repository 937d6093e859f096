"""The tar reader agrees with Python's tarfile where that is right, and steps over what is no tar."""

from __future__ import annotations

import io
import tarfile

import pytest

from imagedelta.archives.tar_headers import parse_header, parse_number, parse_pax
from imagedelta.archives.tar_members import SeekTape, TarMember, walk_tar
from imagedelta.errors import ContentError, LimitExceeded, Truncated
from imagedelta.limits import MIB, Limits
from tests.images import a_tar

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def walked(data: bytes, *, strict: bool = True, limits: Limits | None = None) -> list[TarMember]:
    tape = SeekTape(io.BytesIO(data))
    return list(walk_tar(tape, limits or Limits(), strict=strict, max_members=100))


def a_member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def members() -> list[tuple[tarfile.TarInfo, bytes]]:
    return [
        a_member("folder", type=tarfile.DIRTYPE),
        a_member("folder/file", b"content"),
        a_member("x/" * 60 + "prefix", b"1" * 512),
        a_member("hard", type=tarfile.LNKTYPE, linkname="folder/file"),
        a_member("soft", type=tarfile.SYMTYPE, linkname="../else"),
        a_member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        a_member("disk", type=tarfile.BLKTYPE),
        a_member("pipe", type=tarfile.FIFOTYPE),
        a_member("usr/.wh.gone"),
        a_member("last", b"2" * 513, mtime=1700000000, uid=1000),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_members_are_where_tarfile_finds_them(form):
    data = a_tar(members(), form=form)

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(m.name, m.linkname, m.offset, m.offset_data, m.size) for m in tar]
    found = [(m.path.decode().rstrip("/"), m.link.decode(), m.header_offset, m.offset, m.size) for m in walked(data)]
    assert found == expected


def test_kinds_are_named():
    kinds = [member.kind for member in walked(a_tar(members()))]

    assert kinds == [
        "directory",
        "file",
        "file",
        "hardlink",
        "symlink",
        "character",
        "block",
        "fifo",
        "file",
        "file",
    ]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_links_are_whole(form):
    long = "d/" * 300 + "ümlaut"
    data = a_tar([a_member(long, b"1"), a_member("l" * 150, type=tarfile.SYMTYPE, linkname=long)], form=form)

    first, second = walked(data)
    assert (first.path.decode(), first.header_offset, first.size) == (long, 0, 1)
    assert (second.path.decode(), second.link.decode()) == ("l" * 150, long)


def test_an_extension_belongs_to_the_next_member_only():
    data = a_tar([a_member("x" * 200, b"1"), a_member("short", b"2")], form=tarfile.GNU_FORMAT)

    assert [member.path for member in walked(data)] == [b"x" * 200, b"short"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_sizes_of_more_than_8_gib_are_read(form):
    info = tarfile.TarInfo("huge")
    info.size = 9 << 30

    (member,) = first_member(info.tobuf(form))

    assert member.size == 9 << 30


def first_member(data: bytes) -> list[TarMember]:
    tape = SeekTape(io.BytesIO(data))
    return [next(iter(walk_tar(tape, Limits(), strict=True, max_members=1)))]


def test_an_old_gnu_sparse_file_has_its_map_passed_over():
    header = bytearray(tarfile.TarInfo("sparse").tobuf(tarfile.GNU_FORMAT))
    header[156:157], header[482:483] = b"S", b"\1"
    header[124:136] = b"%011o\0" % 1024
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    more, last = bytearray(512), bytes(512)
    more[504] = 1
    data = bytes(header) + bytes(more) + last + b"s" * 1024 + a_tar([a_member("next")])

    sparse, following = walked(data)

    assert (sparse.kind, sparse.offset, sparse.size) == ("file", 3 * 512, 1024)
    assert following.path == b"next"


def test_a_pax_sparse_file_has_its_own_name_and_its_stored_size():
    info, content = a_member("GNUSparseFile.1/real", b"m" * 600)
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "real", "GNU.sparse.realsize": "99999"}

    (member,) = walked(a_tar([(info, content)]))

    assert (member.path, member.size) == (b"real", 600)


def test_a_v7_header_without_magic_is_read():
    header = bytearray(tarfile.TarInfo("old").tobuf(tarfile.USTAR_FORMAT))
    header[257:345] = bytes(88)
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))

    assert [member.path for member in walked(bytes(header) + bytes(1024))] == [b"old"]


def test_links_carry_no_data_whatever_their_size_says():
    data = a_tar([(a_member("hard", type=tarfile.LNKTYPE, size=5000)[0], b""), a_member("next", b"1")])

    assert [(member.path, member.size) for member in walked(data)] == [(b"hard", 0), (b"next", 1)]


def test_the_strict_walk_ends_at_the_end_mark_and_the_lenient_one_goes_on():
    both = a_tar([a_member("one", b"1")]) + a_tar([a_member("two", b"2")])

    assert [member.path for member in walked(both)] == [b"one"]
    assert [member.path for member in walked(both, strict=False)] == [b"one", b"two"]


def test_the_lenient_walk_steps_over_blocks_that_are_no_headers():
    data = b"\x07" * 1024 + a_tar([a_member("found", b"1")]) + b"tail"

    (member,) = walked(data, strict=False)
    assert (member.path, member.header_offset) == (b"found", 1024)


def test_a_malformed_pax_header_is_stepped_over_or_refused():
    info, data = a_member("x", b"not pax records", type=tarfile.XHDTYPE)
    tar = a_tar([(info, data), a_member("plain", b"1")])

    assert [member.path for member in walked(tar, strict=False)] == [b"plain"]
    with pytest.raises(ContentError):
        walked(tar)


def test_a_giant_pax_header_is_stepped_over_in_a_layer():
    info, data = a_member("x", bytes(2 * MIB), type=tarfile.XHDTYPE)
    tar = a_tar([(info, data), a_member("plain", b"1")])

    assert [member.path for member in walked(tar, strict=False)] == [b"plain"]


@pytest.mark.parametrize("size", ["-1", "x", "9" * 40])
def test_a_pax_size_that_is_none_is_refused_or_ignored(size):
    info, data = a_member("file", b"1")
    info.pax_headers = {"size": size}
    tar = a_tar([(info, data)])

    assert [member.size for member in walked(tar, strict=False)] == [1]
    with pytest.raises(ContentError):
        walked(tar)


def test_a_path_over_the_limit_is_refused_or_cut():
    tar = a_tar([a_member("p" * 5000, b"1")])

    assert [len(member.path) for member in walked(tar, strict=False)] == [4096]
    with pytest.raises(LimitExceeded):
        walked(tar)


def test_too_many_members_are_refused():
    with pytest.raises(LimitExceeded):
        walked(a_tar([a_member(str(n)) for n in range(101)]), strict=False)


@pytest.mark.parametrize("cut", [10, 512, 600, 1535])
def test_a_tar_cut_inside_a_member_is_truncated(cut):
    data = a_tar([a_member("file", b"c" * 600)])

    with pytest.raises(Truncated):
        walked(data[:cut])


@pytest.mark.parametrize(
    ("field", "number"),
    [
        (b"0000644\0", 0o644),
        (b"    12 \0", 0o12),
        (b"\0\0\0\0", 0),
        (b"\x80\0\0\0\0\0\0\0\0\0\1\0", 256),
        (b"\x80" + b"\xff" * 11, None),
        (b"\xff" * 12, None),
        (b"0000x44\0", None),
        (b"12 34 \0\0", None),
        (b"0_1\0", None),
        (b"-1\0\0", None),
    ],
)
def test_numbers_in_headers(field, number):
    assert parse_number(field) == number


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", {}),
        (b"8 a=bcd\n", {b"a": b"bcd"}),
        (b"8 a=bcd\n6 a=e\n\0\0", {b"a": b"e"}),
        (b"9 a=b\ncd\n", {b"a": b"b\ncd"}),
        (b"8 a=bcd", None),
        (b"7 a=bcd\n", None),
        (b"5 abc\n", None),
        (b"99999999999 a=b\n", None),
        (b"0 a=b\n", None),
        (b"x a=b\n", None),
        (b"1 \n", None),
    ],
)
def test_pax_records(data, records):
    assert parse_pax(data) == records


def test_a_header_with_a_wrong_checksum_is_none():
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[0] ^= 1

    assert parse_header(bytes(header)) is None


def test_a_checksum_of_signed_bytes_is_accepted():
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[0] = 0xE9
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:]) + 256
    header[148:156] = b"%06o\0 " % signed

    found = parse_header(bytes(header))
    assert found is not None
    assert found.name == b"\xe9"
