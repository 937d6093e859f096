"""The best source is the one from which the least must be sent."""

from __future__ import annotations

import io
import random

from imagedelta.ranking import estimate_full, rank
from imagedelta.ranking.source import Source
from imagedelta.ranking.target_files import file_facts
from imagedelta.signatures import Signature, index_layer, sign
from tests.images import BuiltImage, an_image
from tests.unit.signatures.test_signature import synthetic


def noise(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


def signed(built: BuiltImage) -> Signature:
    return sign(built.image, [index_layer(io.BytesIO(layer)) for layer in built.layers])


BASE = {f"usr/lib/lib{name}.so": noise(n, 50_000) for n, name in enumerate("abcdef")}
APP = {f"app/{name}.dll": noise(n + 100) for n, name in enumerate("abcdefgh")}
REBUILT = {**APP, "app/a.dll": noise(7)}
OTHER_APP = {f"tool/{name}.dll": noise(n + 200) for n, name in enumerate("klmnop")}

TARGET = signed(an_image(BASE, REBUILT, note="target"))
PREVIOUS = signed(an_image(BASE, APP))
SAME_BASE = signed(an_image(BASE, OTHER_APP))
STRANGER = signed(an_image({"x/y": noise(999)}))
REBUILT_BASE = signed(an_image({**BASE, "new": b"1"}, APP))


def order(target: Signature, *candidates: Signature, always: tuple[Signature, ...] = ()) -> list[str]:
    return [ranked.image_id for ranked in rank(target, candidates, always)]


def ids(*signatures: Signature) -> list[str]:
    return [signature.image_id for signature in signatures]


def test_the_previous_version_is_better_than_the_same_base_and_that_than_a_stranger():
    assert order(TARGET, STRANGER, SAME_BASE, PREVIOUS) == ids(PREVIOUS, SAME_BASE, STRANGER)


def test_the_same_files_in_new_layers_cost_little():
    shared_layer, shared_files = rank(TARGET, [PREVIOUS, REBUILT_BASE])

    assert shared_files.estimated_bytes < shared_layer.estimated_bytes + 100


def test_a_rebuilt_file_costs_a_small_part_of_a_new_one():
    target = signed(an_image({"app/main.dll": noise(1, 100_000)}))
    rebuilt = signed(an_image({"app/main.dll": noise(2, 100_000)}))
    grown = signed(an_image({"app/main.dll": noise(3, 80_000)}))
    renamed = signed(an_image({"app/start.dll": noise(2, 100_000)}))

    assert order(target, renamed, grown, rebuilt) == ids(rebuilt, grown, renamed)
    assert rank(target, [rebuilt])[0].estimated_bytes < estimate_full(target) / 10


def test_a_rebuilt_program_costs_less_where_what_moved_is_predicted():
    for name in ("app/main.dll", "usr/lib/libx.so"):
        target, rebuilt = (signed(an_image({name: noise(seed, 400_000)})) for seed in (1, 2))
        first, second = (
            rank(target, [rebuilt], profile=profile)[0].estimated_bytes for profile in ("v1-64m", "v2-64m")
        )

        assert second < first / 2


def test_the_best_source_may_be_another_where_what_moved_is_predicted():
    """Moved code costs more than new text in the first format, and less in the second."""
    program, words = noise(1, 400_000), text(1)
    target = signed(an_image({"usr/lib/libx.so": program}, {"notes.txt": words}))
    moved = signed(an_image({"usr/lib/libx.so": noise(2, 400_000)}, {"notes.txt": words}))
    without = signed(an_image({"usr/lib/libx.so": program}))

    chosen = [rank(target, [moved, without], profile=profile)[0].image_id for profile in ("v1-64m", "v2-64m")]

    assert chosen == ids(without, moved)


def test_a_moved_or_renumbered_file_finds_its_predecessor():
    target = signed(an_image({"opt/v2/lib/libicu.so.76.1": noise(1, 100_000)}))
    older = signed(an_image({"usr/lib/libicu.so.72.1": noise(2, 100_000)}))

    assert rank(target, [older])[0].estimated_bytes < estimate_full(target) / 5


def text(seed: int, lines: int = 2000) -> bytes:
    """Text that sketches can be taken of."""
    return b"".join(b"value %d of line %d\n" % (seed * n * n % 99991, n) for n in range(lines))


def test_of_two_old_versions_of_the_same_size_the_more_similar_one_is_better():
    new = text(1)
    patched, rewritten = new.replace(b"value 5", b"value 6", 3), text(2)[: len(new)].ljust(len(new))
    target, near, far = (signed(an_image({"app/main.so": data})) for data in (new, patched, rewritten))

    assert order(target, far, near) == ids(near, far)
    first, second = (rank(target, [old], profile="v1-64m")[0].estimated_bytes for old in (near, far))
    assert first < 0.3 * second


def test_what_was_cut_off_costs_nothing_and_what_was_added_does():
    short, long = signed(an_image({"notes.txt": text(1)})), signed(an_image({"notes.txt": text(1) + text(3)}))

    assert 3 * rank(short, [long])[0].estimated_bytes < rank(long, [short])[0].estimated_bytes


def test_a_file_under_another_name_is_found_by_its_content():
    target, source = signed(an_image({"templates.old": text(1)})), signed(an_image({"templates": text(1) + b"more\n"}))

    assert rank(target, [source])[0].estimated_bytes < estimate_full(target) / 2


def test_compiled_files_of_a_rebuild_cost_a_byte_or_two_each():
    def modules(time: int) -> dict[str, bytes]:
        head = b"\xa7\r\r\n" + bytes(4) + time.to_bytes(4, "little") + bytes(4)
        return {f"site/{n}/__pycache__/m.pyc": head + noise(n, 3000) for n in range(100)}

    target, before = signed(an_image(modules(2))), signed(an_image(modules(1)))

    assert rank(target, [before])[0].estimated_bytes < 450 + 2 * 100 + 100


def test_an_image_that_is_always_there_helps_every_candidate_the_same():
    alone = rank(TARGET, [STRANGER])[0].estimated_bytes
    helped = rank(TARGET, [STRANGER], [SAME_BASE])[0].estimated_bytes

    assert helped < alone
    assert helped <= rank(TARGET, [SAME_BASE])[0].estimated_bytes + 10


def test_the_target_itself_costs_next_to_nothing_and_no_source_the_full_estimate():
    itself, stranger = rank(TARGET, [TARGET, STRANGER])

    assert itself.estimated_bytes < 2000
    assert stranger.estimated_bytes <= estimate_full(TARGET)
    assert 0.05 < estimate_full(TARGET) / TARGET.full_bytes < 1


def test_equal_estimates_are_ordered_by_image_id_whatever_their_order():
    twins = [signed(an_image(BASE, note=str(n))) for n in range(4)]

    assert order(TARGET, *twins) == order(TARGET, *reversed(twins)) == sorted(ids(*twins))


def test_no_candidates_give_no_ranking():
    assert rank(TARGET, []) == []


def test_sampled_images_are_ranked_as_their_files_differ():
    target = synthetic(30_000)
    close, far = synthetic(30_000, salt=1, changed_from=29_500), synthetic(30_000, salt=2, changed_from=15_000)
    small = synthetic(2_000)

    ranked = rank(target, [small, far, close])

    assert [entry.image_id for entry in ranked] == ids(close, far, small)
    half_is_missing = ranked[1].estimated_bytes / estimate_full(target)
    assert half_is_missing < 0.2  # changed files of the same size are cheap


def test_estimates_of_a_sample_are_close_to_those_of_all_files():
    """A complete target estimated against sources that had to be sampled is off by a few percent only."""
    target = synthetic(1_500)
    large = synthetic(30_000, salt=5, changed_from=1_000)

    (ranked,) = rank(target, [large])

    assert target.threshold == 0.0 < large.threshold
    assert 0 < ranked.estimated_bytes < estimate_full(target)


def test_of_thousands_of_files_of_one_name_the_one_nearest_in_size_is_the_old_version():
    files = {f"dist/chunk/{n}.json": bytes([n % 251]) * (n + 1) for n in range(2000)}
    ((_, target),) = file_facts(signed(an_image({"dist/chunk/9999.json": b"new" * 100})), 0.0)

    old = Source(signed(an_image(files))).namesake(target)

    assert old and old.size == 300


def test_of_thousands_of_files_of_one_name_the_one_of_the_same_path_is_the_old_version():
    files = {f"dist/chunk/{n}.json": bytes([n % 251]) * (n + 1) for n in range(2000)}
    ((_, target),) = file_facts(signed(an_image({"dist/chunk/7.json": b"new" * 100})), 0.0)

    old = Source(signed(an_image(files))).namesake(target)

    assert old and old.size == 8


def test_content_that_hundreds_of_files_share_is_no_sign_of_an_old_version():
    licence = text(1, 300)
    ((_, target),) = file_facts(signed(an_image({"LICENCE": licence})), 0.0)

    few = Source(signed(an_image({f"few/{n}/notice": licence + b"%d" % n for n in range(3)})))
    many = Source(signed(an_image({f"many/{n}/notice": licence + b"%d" % n for n in range(300)})))

    assert few.alike(target)
    assert not many.alike(target)
