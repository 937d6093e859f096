"""A file's old version is found by its path, by what of it stays the same, by its last two parts, by its size."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagedelta.signatures import FileEntry
from imagedelta.signatures.old_versions import Namesakes, closeness_by_content
from imagedelta.signatures.signature import row_of
from imagedelta.signatures.summary import Row


def a_row(path: str, size: int = 1000) -> Row:
    digest = hashlib.sha256(f"{path} {size}".encode()).digest()
    return row_of(FileEntry(path.encode(), "file", 0, 512, size, digest))


def old_version(new: tuple[str, int], *old: tuple[str, int]) -> tuple[str, int] | None:
    """Return which of the old files is taken."""
    closest = Namesakes([a_row(*file) for file in old]).closest(a_row(*new))
    return old[closest[1]] if closest else None


MOVED = (
    (("lib/python3.12/x/utils/__init__.py", 900), ("lib/python3.11/x/utils/__init__.py", 5000)),
    (("m/.pnpm/b@1.1.0/m/b/dist/index.js", 900), ("m/.pnpm/b@1.0.2/m/b/dist/index.js", 5000)),
    (("lib/libicu.so.76.1", 900), ("lib/libicu.so.72.1", 5000)),
    (("www/js/main.3f2a91bc.js", 900), ("www/js/main.77e0c1d2.js", 5000)),
)


@pytest.mark.parametrize(("new", "old"), MOVED)
def test_a_path_without_its_changing_parts_is_nearer_than_any_size(new, old):
    folder, name = new[0].rsplit("/", 2)[-2:]
    others = [(f"elsewhere/{letter}/{folder}/{name}", 900) for letter in "abc"]

    assert old_version(new, *others, old) == old


def test_the_very_path_is_nearer_than_one_with_other_numbers():
    new = ("chunks/7.json", 900)

    assert old_version(new, ("chunks/8.json", 900), ("chunks/7.json", 10), ("chunks/6.json", 901)) == (
        "chunks/7.json",
        10,
    )


def test_where_the_application_moved_its_packages_find_their_own():
    old = [(f"app/node_modules/{name}/lib/index.js", size) for name, size in (("left", 900), ("pad", 5000))]

    assert old_version(("srv/node_modules/pad/lib/index.js", 900), *old) == old[1]


def test_a_file_whose_folders_moved_has_the_namesake_nearest_in_size():
    new = ("srv/app/lib/index.js", 900)

    assert old_version(new, ("a/lib/index.js", 700), ("b/lib/index.js", 950), ("c/lib/index.js", 990)) == (
        "b/lib/index.js",
        950,
    )


@pytest.mark.parametrize(("size", "nearest"), [(1, 100), (140, 100), (160, 200), (250, 200), (290, 300), (9000, 300)])
def test_the_nearest_in_size_may_be_smaller_or_larger(size, nearest):
    old = [(f"x{number}/lib/main.so", 100 * number) for number in (1, 2, 3)]

    assert old_version(("y/lib/main.so", size), *old) == (f"x{nearest // 100}/lib/main.so", nearest)


ROWS = st.builds(
    lambda size, form, path, tail, content: Row(7, size, form, path, tail, content, 0),
    *(st.integers(0, most) for most in (40, 3, 5, 2, 99)),
)


@given(ROWS, st.lists(ROWS, min_size=1, max_size=30))
def test_of_few_and_of_many_the_closest_is_taken(new, rows):
    """Many are bisected, few are compared one by one."""
    closest = Namesakes(rows).closest(new)
    alone = [found[0] for row in rows if (found := Namesakes([row]).closest(new))]

    assert closest and closest[0] == min(alone)
    assert closest[0].content == rows[closest[1]].content


def test_files_of_other_last_parts_are_no_namesakes():
    assert Namesakes([]).closest(a_row("a/b")) is None


def test_which_of_equals_is_taken_does_not_depend_on_the_source():
    rows = [a_row("v1/lib/index.js", 50), a_row("v3/lib/index.js", 50)]
    new = a_row("v2/lib/index.js", 50)

    one, other = (Namesakes([row]).closest(new) for row in rows)
    both = Namesakes(rows).closest(new)

    assert one and other and both
    assert both[0] == min(one[0], other[0])


def test_the_more_two_sketches_share_the_closer_the_files():
    new = a_row("templates", 1000)
    files = [(a_row("a", 1000), 4), (a_row("b", 1000), 7), (a_row("c", 990), 7)]

    assert min(closeness_by_content(new, row, shared) for row, shared in files).content == files[1][0].content


def test_a_namesake_is_closer_than_what_is_alike():
    new = a_row("lib/x.so", 1000)
    namesake = Namesakes([a_row("usr/lib/x.so", 10)]).closest(new)

    assert namesake and namesake[0] < closeness_by_content(new, a_row("y", 1000), 8)
