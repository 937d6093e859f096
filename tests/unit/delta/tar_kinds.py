"""Layers as the tools of forty years write them, each in an older and a newer build that differs a little."""

import random

from tests.unit.delta.raw_tars import (
    END,
    GNU,
    V7,
    a_file,
    a_header,
    base_256,
    gnu_long,
    gnu_sparse,
    octal,
    padded,
    pax,
    pax_sparse,
)


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def content(build: int) -> bytes:
    """Return a file whose builds differ in a few bytes."""
    return noise(3000, 1) + b"build %d" % build + noise(500, 2)


def time(build: int) -> int:
    return 1_600_000_000 + 86_400 * build


def sparse_parts(build: int, count: int) -> list[tuple[int, bytes]]:
    return [(4096 * number, noise(90, number) + b"%d" % build) for number in range(count)]


def last(build: int) -> bytes:
    """Return a plain file and the end, so that every kind has something behind it."""
    return a_file(b"last", content(build + 50), mtime=time(build)) + END


def v7(build: int) -> bytes:
    return a_file(b"old/file", content(build), magic=V7, mtime=time(build), kind=b"\0") + last(build)


def old_gnu(build: int) -> bytes:
    times = {345: octal(time(build), 12) + octal(time(build) + 1, 12)}
    return a_file(b"gnu/file", content(build), magic=GNU, mtime=time(build), fields=times) + last(build)


def odd_numbers(build: int) -> bytes:
    spaces = {100: b"   644 \0", 108: b"     0 \0", 116: b"     0 \0"}
    data = content(build) + bytes(build)
    size = b"%11o " % len(data)
    return a_file(b"spaced", data, size_field=size, mtime=time(build), fields=spaces) + last(build)


def sparse_in_header(build: int) -> bytes:
    return gnu_sparse(b"sparse", sparse_parts(build, 3), 90_000, mtime=time(build)) + last(build)


def sparse_with_blocks(build: int) -> bytes:
    return gnu_sparse(b"sparse", sparse_parts(build, 40), 400_000, mtime=time(build)) + last(build)


def sparse_pax(build: int) -> bytes:
    return pax_sparse(b"sparse", sparse_parts(build, 5), 90_000, mtime=time(build)) + last(build)


def links(build: int) -> bytes:
    hard = a_header(b"same", kind=b"1", link=b"bin/tool", mtime=time(build))
    hard_with_size = a_header(b"same2", len(content(build)), kind=b"1", link=b"bin/tool", mtime=time(build))
    soft = a_header(b"lib64", kind=b"2", link=b"usr/lib64.%d" % build, mtime=time(build), mode=0o777)
    full = a_header(b"far", kind=b"2", link=b"x" * 100, mtime=time(build))
    return a_file(b"bin/tool", content(build), mtime=time(build)) + hard + hard_with_size + soft + full + last(build)


def devices(build: int) -> bytes:
    null = a_header(b"dev/null", kind=b"3", device=(1, 3), mtime=time(build), mode=0o666)
    disk = a_header(b"dev/sda", kind=b"4", device=(8, build), mtime=time(build))
    pipe = a_header(b"run/pipe", kind=b"6", mtime=time(build))
    return null + disk + pipe + last(build)


def whiteouts(build: int) -> bytes:
    gone = a_header(b"etc/.wh.passwd.%d" % build, mtime=time(build))
    opaque = a_header(b"var/.wh..wh..opq", mtime=time(build))
    overlay = a_header(b"var/gone", kind=b"3", device=(0, 0), mtime=time(build))
    return gone + opaque + overlay + last(build)


def names_of_no_encoding(build: int) -> bytes:
    name = b"\xff\xfe/caf\xe9\x80"
    return (
        a_file(name, content(build), mtime=time(build))
        + a_header(b"\xa0link", kind=b"2", link=name, mtime=time(build))
        + last(build)
    )


def long_gnu_names(build: int) -> bytes:
    name = b"node_modules/" * 20 + b"index.%d.js" % build
    long_link = (
        gnu_long(b"L", name) + gnu_long(b"K", name) + a_header(name[:100], kind=b"2", link=name[:100], magic=GNU)
    )
    return (
        gnu_long(b"L", name)
        + a_file(name[:100], content(build), magic=GNU, mtime=time(build))
        + long_link
        + last(build)
    )


def pax_paths(build: int) -> bytes:
    path = b"d\xc3\xbc/" * 60 + b"v%d" % build
    far = pax(path=path, linkpath=path * 2, mtime=b"%d.5" % time(build))
    file = pax(path=path) + a_file(path[:100], content(build), mtime=time(build))
    return file + far + a_header(path[:100], kind=b"2", link=path[:100]) + last(build)


def pax_size(build: int) -> bytes:
    data = content(build)
    return pax(size=len(data)) + a_header(b"large", 0, mtime=time(build)) + padded(data) + last(build)


def pax_size_that_overrides(build: int) -> bytes:
    data = content(build)
    return pax(size=len(data)) + a_header(b"large", 512, mtime=time(build)) + padded(data) + last(build)


def a_long_pax_header(build: int) -> bytes:
    """An extended attribute as large as a certificate store; it stays as it is."""
    return pax(SCHILY_xattr=noise(90_000, 8)) + a_file(b"attributed", content(build), mtime=time(build)) + last(build)


def a_changed_long_pax_header(build: int) -> bytes:
    attribute = noise(90_000, 8 + build)
    return pax(SCHILY_xattr=attribute) + a_file(b"attributed", content(build), mtime=time(build)) + last(build)


def an_empty_file_by_pax(build: int) -> bytes:
    return pax(size=0) + a_header(b"none", 512, mtime=time(build)) + last(build)


def unknown_types(build: int) -> bytes:
    volume = a_header(b"volume", kind=b"V", magic=GNU, mtime=time(build))
    dump = a_file(b"folder/", b"Yname\0\0", kind=b"D", magic=GNU, mtime=time(build))
    solaris = a_file(b"PaxHeaders/x", b"18 comment=solaris\n", kind=b"X")
    return volume + dump + solaris + a_file(b"after", content(build), mtime=time(build)) + last(build)


def bsdtar(build: int) -> bytes:
    fields = {100: b"000644 \0", 108: b"000000 \0", 116: b"000000 \0"}
    files = b""
    for number in range(9):
        data = content(build + number)
        numbers = {"size_field": b"%011o " % len(data), "mtime_field": b"%011o " % time(build)}
        files += a_file(b"file%d" % number, data, fields=fields, **numbers)
    return files + last(build)


def global_pax(build: int) -> bytes:
    records = pax(comment=b"%040d" % build)
    body = records[512:]
    return a_header(b"pax_global_header", 52, kind=b"g", mtime=time(build)) + body + last(build)


def large_numbers(build: int) -> bytes:
    data = content(build)
    early = base_256(-time(build), 12)
    return a_file(b"early", data, mtime_field=early, size_field=base_256(len(data), 12)) + last(build)


def odd_padding(build: int) -> bytes:
    data = content(build)
    return a_header(b"a", len(data), mtime=time(build)) + data + b"\xaa" * (-len(data) % 512) + last(build)


def trailing_bytes(build: int) -> bytes:
    return last(build) + b"signature of the archive %d" % build + noise(900, build)


def long_trailing_bytes(build: int) -> bytes:
    return last(build) + noise(90_000, 7) + b"%d" % build


def one_end_block(build: int) -> bytes:
    return last(build)[:-512]


def no_end(build: int) -> bytes:
    return last(build)[:-1024]


def blocked_end(build: int) -> bytes:
    tar = last(build)
    return tar + bytes(-len(tar) % 10_240)


def two_tars(build: int) -> bytes:
    return last(build) + a_file(b"second", content(build + 20), mtime=time(build)) + last(build + 1)


def empty(build: int) -> bytes:
    return b""


def only_an_end(build: int) -> bytes:
    return END


def no_tar(build: int) -> bytes:
    return b"\x1f\x8b no tar " + noise(20_000, 3) + b"%d" % build


def cut_in_a_header(build: int) -> bytes:
    return a_file(b"a", content(build), mtime=time(build)) + last(build)[:300]


def cut_in_data(build: int) -> bytes:
    return a_file(b"a", content(build), mtime=time(build)) + last(build)[:900]


def one_name_twice(build: int) -> bytes:
    return b"".join(a_file(b"twice", content(build + number), mtime=time(build)) for number in range(3)) + last(build)


def one_content_thrice(build: int) -> bytes:
    return b"".join(a_file(b"file%d" % number, content(build), mtime=time(build)) for number in range(3)) + last(build)


def a_wrong_checksum(build: int) -> bytes:
    wrong = bytearray(a_header(b"wrong", 0, mtime=time(build)))
    wrong[148:154] = b"000001"
    return a_file(b"a", content(build), mtime=time(build)) + bytes(wrong) + last(build)


def a_signed_checksum(build: int) -> bytes:
    header = bytearray(a_header(b"\xe9" * 9, 0, mtime=time(build)))
    header[148:156] = b"%06o\0 " % (int(header[148:154], 8) - 9 * 256)
    return bytes(header) + last(build)


def an_empty_name(build: int) -> bytes:
    return a_file(b"", content(build), mtime=time(build)) + last(build)


KINDS = (
    v7,
    old_gnu,
    odd_numbers,
    sparse_in_header,
    sparse_with_blocks,
    sparse_pax,
    links,
    devices,
    whiteouts,
    names_of_no_encoding,
    long_gnu_names,
    pax_paths,
    pax_size,
    pax_size_that_overrides,
    an_empty_file_by_pax,
    a_long_pax_header,
    a_changed_long_pax_header,
    unknown_types,
    bsdtar,
    global_pax,
    large_numbers,
    odd_padding,
    trailing_bytes,
    long_trailing_bytes,
    one_end_block,
    no_end,
    blocked_end,
    two_tars,
    empty,
    only_an_end,
    no_tar,
    cut_in_a_header,
    cut_in_data,
    one_name_twice,
    one_content_thrice,
    a_wrong_checksum,
    a_signed_checksum,
    an_empty_name,
)
OLD, NEW = 1, 2
