"""What a patch starts from: the old version that ranking took, wherever its folder went."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.encode import plan
from imagedelta.delta.encode.plan import Choice, plan_patch
from imagedelta.ranking.source import Source
from imagedelta.ranking.target_files import file_facts
from imagedelta.signatures import sign
from imagedelta.signatures.signature import content_hash
from tests.images import BuiltImage, an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, content_of
from tests.unit.delta.raw_tars import END, a_file, pax


def bases(target: dict[str, bytes], *sources: dict[str, bytes]) -> dict[str, str]:
    """Return path → path that its data starts from, of the changed files."""
    made = plan_patch(content_of(an_image(target)), [content_of(an_image(source)) for source in sources])
    return {
        file.entry.path.decode(): file.base.entry.path.decode()
        for layer in made.rebuilt
        for file in layer.files
        if file.choice is Choice.CHANGED and file.base
    }


def text(seed: int, lines: int = 40) -> bytes:
    return b"".join(b"value %d of line %d\n" % (seed * n * n % 99991, n) for n in range(lines))


def test_each_of_hundreds_of_common_names_starts_from_its_own_old_version():
    names = [f"package-{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300)]
    old = {f"m/.pnpm/{name}@1.0.0/m/{name}/lib/index.js": text(n) for n, name in enumerate(names)}
    new = {f"m/.pnpm/{name}@1.0.1/m/{name}/lib/index.js": text(n) + b"more" for n, name in enumerate(names)}

    assert bases(new, old) == {path: path.replace("@1.0.1", "@1.0.0") for path in new}


def test_modules_of_the_next_python_start_from_their_own():
    packages = [f"{one}{other}" for one in "abcdefghij" for other in "abcdefghij"]
    old = {f"lib/python3.11/site/{name}/utils/__init__.py": text(n) for n, name in enumerate(packages)}
    new = {f"lib/python3.12/site/{name}/utils/__init__.py": text(n) + b"#" for n, name in enumerate(packages)}

    assert bases(new, old) == {path: path.replace("3.12", "3.11") for path in new}


def test_a_file_that_only_a_folder_of_another_name_has_starts_from_the_one_with_most_folders_in_common():
    old = {f"usr/share/{folder}/conf/setup.cfg": text(n, 5) for n, folder in enumerate(("aa", "mm", "zz"))}

    assert bases({"usr/share/mm/settings/setup.cfg": text(9, 5)}, old) == {
        "usr/share/mm/settings/setup.cfg": "usr/share/mm/conf/setup.cfg"
    }


def test_content_tells_more_than_a_name_in_another_folder():
    old = {"a/b/main.c": text(5, 400), "kept/under/another": text(7, 400)}

    assert bases({"new/place/main.c": text(7, 400) + b"more\n"}, old) == {"new/place/main.c": "kept/under/another"}


def test_members_are_counted_as_a_reader_counts_them(monkeypatch, tmp_path):
    """A pax header is a member too, so two layers of 600 files with one each have 2,400 members."""

    def layer(folder: str, mtime: int) -> bytes:
        files = [pax(comment=b"x") + a_file(f"{folder}/{n:05}".encode(), b"%d" % n, mtime=mtime) for n in range(600)]
        return b"".join(files) + END

    monkeypatch.setattr(plan, "MAX_MEMBERS", 1000)
    source, target = (an_image(layer("a", time), layer("b", time)) for time in (1, 2))

    made = plan.plan_patch(content_of(target), [content_of(source)])
    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert 500 < sum(made.member_counts) <= 1000
    assert_rebuilt(target, patch, source)


def signed(built: BuiltImage):
    content = content_of(built)
    return sign(built.image, [layer.index for layer in content.layers])


_FOLDERS = ("lib/python3.11", "lib/python3.12", "opt/b@1.0.0", "opt/b@1.1.0", "srv", "lib/x/lib")
_NAMES = ("lib/index.js", "index.js", "utils/__init__.py", "libz.so.1", "libz.so.2", "data")
PATHS = st.builds(lambda folder, name: f"{folder}/{name}", st.sampled_from(_FOLDERS), st.sampled_from(_NAMES))
TREES = st.dictionaries(PATHS, st.integers(1, 400), max_size=12)


def tree(sizes: dict[str, int], salt: int) -> dict[str, bytes]:
    """Files of these sizes, no two of which are the same."""
    return {
        path: random.Random(f"{salt} {path}").randbytes(4) + b"v" * size + text(size, size // 8)
        for path, size in sizes.items()
    }


@settings(max_examples=60)
@given(TREES, TREES, TREES)
def test_what_ranking_takes_for_an_old_version_is_what_a_patch_starts_from(target, source, always):
    image, *sources = an_image(tree(target, 1)), an_image(tree(source, 2)), an_image(tree(always, 3), note="always")
    made = plan_patch(content_of(image), [content_of(each) for each in sources])
    changed = {content_hash(file.entry): file for layer in made.rebuilt for file in layer.files if file.choice}

    ranked = [Source(signed(each)) for each in sources]

    for content, facts in file_facts(signed(image), 0.0):
        namesakes = [found for each in ranked if (found := each.namesake(facts))]
        alike = [found for each in ranked if (found := each.alike(facts))]
        for found in filter(None, [min(namesakes or alike, key=lambda old: old.closeness, default=None)]):
            base = changed[content].base
            assert base and content_hash(base.entry) == found.closeness.content
