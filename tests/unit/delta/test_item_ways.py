"""Every way of making bytes occurs in patches that are built for images where it pays, and rebuilds them."""

import io
import random
import zipfile

import pytest

from imagedelta.delta.format.items import ReadItem, Way
from imagedelta.delta.format.roles import Role
from imagedelta.limits import MIB
from tests.images import BuiltImage, an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, streams_of
from tests.unit.delta.raw_tars import END, a_file, a_header
from tests.unit.delta.read_items import items_of


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def lines(count: int, seed: int) -> bytes:
    rng = random.Random(seed)
    return b"".join(b"option %d = %d\n" % (rng.randrange(99), rng.randrange(999)) for _ in range(count))


def module(stamp: int, seed: int = 1) -> bytes:
    """Return a compiled Python module that holds the time of its source (PEP 552)."""
    return b"\xa7\r\r\n" + bytes(4) + stamp.to_bytes(4, "little") + b"\x10\0\0\0" + noise(5000, seed)


def jar(count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in {"a.class": lines(400, 1), "b.class": lines(count, 2)}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 6)
    return out.getvalue()


def built(tmp_path, target: BuiltImage, *sources: BuiltImage) -> tuple[bytes, list[ReadItem]]:
    """Return a patch that is known to rebuild its target, and its items."""
    patch, _ = a_patch(target, *sources, scratch=tmp_path)
    assert_rebuilt(target, patch, *sources)
    return patch, items_of(patch, *sources)


def made_by(read: list[ReadItem], way: Way) -> list[ReadItem]:
    return [each for each in read if each.item.way is way]


@pytest.mark.parametrize("moved", [False, True], ids=["in its place", "moved"])
def test_a_module_with_another_time_is_stamped(tmp_path, moved):
    paths = [f"new/m{number}.pyc" if moved else f"m{number}.pyc" for number in range(4)]
    source = an_image({f"m{number}.pyc": module(1_600_000_000 + number, number) for number in range(4)})
    target = an_image({path: module(1_700_000_000 + 9 * number, number) for number, path in enumerate(paths)})

    patch, read = built(tmp_path, target, source)

    assert [each.item.stamp for each in made_by(read, Way.STAMPED)] == [1_700_000_000 + 9 * n for n in range(4)]
    assert len(patch) < 600


def test_a_module_that_is_stamped_stays_apart_from_one_whose_time_alone_is_the_same(tmp_path):
    source = an_image({"a.pyc": module(1_600_000_000, 1), "b.pyc": module(1_600_000_000, 2)})
    target = an_image({"a.pyc": module(0xFFFFFFFF, 1), "b.pyc": module(0, 2), "c.pyc": module(1, 3)})

    _, read = built(tmp_path, target, source)

    assert [each.item.stamp for each in made_by(read, Way.STAMPED)] == [0xFFFFFFFF, 0]


def test_new_content_that_comes_three_times_is_kept_once(tmp_path):
    new, other = noise(9000, 1), noise(7000, 2)
    source = an_image({"x": b"1"})
    target = an_image({"a": new, "b": other, "c": new}, {"d": other, "e": b"between", "f": new})

    _, read = built(tmp_path, target, source)

    kept = [(each.item.offset, each.item.length) for each in made_by(read, Way.KEPT)]
    assert [each.item.length for each in read if each.item.keep] == [9000, 7000]
    assert kept == [(0, 9000), (9000, 7000), (0, 9000)]


@pytest.mark.parametrize(
    ("kind", "way"), [("stamped", Way.STAMPED), ("changed", Way.DELTA), ("text", Way.OLD_TEXT), ("jar", Way.FOLDED)]
)
def test_content_is_kept_whatever_made_it(tmp_path, kind, way):
    """Stamped content is cheap to make again, so it alone is never kept."""
    old, new = {
        "stamped": (module(1), module(2)),
        "changed": (noise(9000, 1), noise(9000, 1)[:-4] + b"\0end"),
        "text": (lines(100, 1), lines(100, 1) + b"end\n"),
        "jar": (jar(300), jar(310)),
    }[kind]
    name = {"stamped": "a.pyc", "jar": "a.jar"}.get(kind, "a")
    source, target = an_image({name: old}), an_image({name: new, f"again-{name}": new})

    _, read = built(tmp_path, target, source)

    assert [each.item.keep for each in made_by(read, way)] == ([False, False] if way is Way.STAMPED else [True])
    assert len(made_by(read, Way.KEPT)) == (way is not Way.STAMPED)


def test_bytes_between_files_are_odd(tmp_path):
    target = an_image(a_header(b"a", 100) + b"x" * 100 + b"\xaa" * 412 + a_file(b"b", b"1" * 512) + END + b"tail")

    _, read = built(tmp_path, target)

    assert [each.item.length for each in made_by(read, Way.ODD)] == [412, 1024 + 4]


def test_headers_that_fit_no_column_are_odd_and_the_unchanged_data_behind_them_is_not_sent(tmp_path):
    data, spaced = noise(9000, 1), {100: b"   644 \0"}
    source = an_image(a_file(b"a", data) + a_file(b"b", data[:900]) + END)
    target = an_image(a_file(b"a", data, fields=spaced) + a_file(b"b", data[:900], fields=spaced) + END)

    patch, read = built(tmp_path, target, source)

    assert streams_of(patch)[Role.ODD] == 2 * 512
    assert [each.item.way for each in read] == [Way.COPY, Way.COPY, Way.END]
    assert len(patch) < 500


@pytest.mark.parametrize("base", ["none", "like it", "in another place", "no zip", "a zip of nothing"])
def test_a_jar_is_folded_whatever_its_base_is(tmp_path, base):
    old = {"like it": jar(300), "in another place": jar(300), "no zip": noise(900, 1), "a zip of nothing": b"PK\5\6"}
    path = "old/app-1.jar" if base == "in another place" else "app.jar"
    sources = [an_image({path: old[base]})] if base in old else []
    target = an_image({"app.jar": jar(310)}, {"again.jar": jar(310), "other.jar": jar(20)})

    _, read = built(tmp_path, target, *sources)

    folded = made_by(read, Way.FOLDED)
    assert len(folded) == 2
    assert (folded[0].item.base is not None) == (base in ("like it", "in another place"))
    assert all(each.item.inner_length > each.item.length for each in folded)


def test_a_build_uses_every_way_but_none_at_all(tmp_path):
    """``Way.NONE`` is for writers that put a header before data of several kinds; this one has no need of it."""
    common = {
        "same": noise(3000, 1),
        "doc.txt": lines(90, 1),
        "bin": noise(9000, 3),
        "m.pyc": module(5),
        "a.jar": jar(9),
        "link": noise(200, 8),
    }
    source = an_image(common)
    target = an_image(
        {
            **common,
            "doc.txt": lines(91, 1),
            "bin": noise(9000, 3) + b"\0",
            "m.pyc": module(6),
            "a.jar": jar(10),
            "link": noise(3000, 1),
            "new": b"\0" + noise(2000, 4),
            "new.txt": lines(9, 5),
            "again": b"\0" + noise(2000, 4),
            "lib.so": b"\x7fELF" + noise(5 * MIB, 1),
        },
        a_file(b"z", b"1") + b"odd",
    )

    _, read = built(tmp_path, target, source)

    assert {each.item.way for each in read} == set(Way) - {Way.NONE}
