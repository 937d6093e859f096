"""Whatever wrote a layer's tar, a patch makes it byte for byte: from an older one, from itself, from nothing."""

import pytest

from imagedelta.delta.format.items import Way
from imagedelta.delta.format.roles import Role
from tests.images import an_image
from tests.unit.delta.patches import a_patch, assert_rebuilt, layers_of, streams_of
from tests.unit.delta.raw_tars import END, a_file
from tests.unit.delta.read_items import items_of
from tests.unit.delta.tar_kinds import (
    KINDS,
    NEW,
    OLD,
    a_changed_long_pax_header,
    a_long_pax_header,
    a_signed_checksum,
    a_wrong_checksum,
    cut_in_a_header,
    cut_in_data,
    large_numbers,
    long_trailing_bytes,
    no_tar,
    noise,
    odd_padding,
    old_gnu,
    pax_size,
    pax_size_that_overrides,
    sparse_in_header,
    sparse_with_blocks,
    trailing_bytes,
    two_tars,
    unknown_types,
)
from tests.vectors.reader import Patch

each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__.replace("_", " ") for kind in KINDS])


@each_kind
def test_a_layer_comes_out_of_an_older_one(tmp_path, kind):
    source, target = an_image(kind(OLD)), an_image(kind(NEW), note="new")

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert_rebuilt(target, patch, source)


@each_kind
def test_a_layer_comes_out_of_nothing(tmp_path, kind):
    target = an_image(kind(NEW))

    patch, _ = a_patch(target, scratch=tmp_path)

    assert_rebuilt(target, patch)


@each_kind
def test_a_layer_comes_out_of_every_other_kind_at_once(tmp_path, kind):
    """Names and contents meet in tars that were written in other ways."""
    source = an_image(*(other(OLD) for other in KINDS if other is not kind))
    target = an_image(kind(NEW))

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert_rebuilt(target, patch, source)


@each_kind
def test_the_second_reader_makes_the_same_layer(tmp_path, kind):
    source, target = an_image(kind(OLD), kind(NEW) + b"!"), an_image(kind(NEW), note="new")
    patch, _ = a_patch(target, source, scratch=tmp_path)

    read = Patch(patch, layers_of(source), {source.image_id: source.image.config}).apply()

    assert read == (target.image.config, layers_of(target))


CARRIED = {
    old_gnu: (1, 0, 0),
    large_numbers: (1, 0, 0),
    sparse_in_header: (0, 0, 0),
    a_signed_checksum: (0, 1024, 3508),
    sparse_with_blocks: (0, 1024, 0),
    a_changed_long_pax_header: (0, 0, 90_020),
    odd_padding: (0, 77, 0),
    a_wrong_checksum: (0, 1101, 0),
    two_tars: (0, 2200, 0),
    trailing_bytes: (0, 2026, 0),
    long_trailing_bytes: (0, 0, 91_101),
    cut_in_a_header: (0, 377, 0),
    cut_in_data: (0, 977, 0),
    no_tar: (0, 20_011, 0),
}
"""Headers, bytes outside files, and bytes of files that a patch carries although the older layer has most of them:
fields that fit no column; what comes behind a block where the walk of docs/formats/patch.md, section 6, ends."""


@each_kind
def test_of_all_other_kinds_nothing_but_the_change_is_carried(tmp_path, kind):
    source, target = an_image(kind(OLD)), an_image(kind(NEW), note="new")
    patch, _ = a_patch(target, source, scratch=tmp_path)

    items = [read.item for read in items_of(patch, source)]

    def made_by(way: Way) -> int:
        return sum(item.length for item in items if item.way is way)

    odd_headers = (streams_of(patch).get(Role.ODD, 0) - made_by(Way.ODD)) / 512
    assert (odd_headers, made_by(Way.ODD), made_by(Way.LITERAL)) == CARRIED.get(kind, (0, 0, 0))


@pytest.mark.parametrize(
    "kind", [pax_size, pax_size_that_overrides, sparse_with_blocks, unknown_types, a_long_pax_header]
)
def test_behind_members_that_are_read_in_their_own_way_unchanged_files_cost_next_to_nothing(tmp_path, kind):
    """So behind a file over 8 GiB, whose size is in a pax record."""
    behind = a_file(b"behind", noise(9000, 8)) + END
    source, target = (an_image(kind(build)[: -len(END)] + behind) for build in (OLD, NEW))

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert_rebuilt(target, patch, source)
    assert len(patch) < 4000


def test_a_long_pax_header_that_stays_costs_next_to_nothing(tmp_path):
    source, target = an_image(a_long_pax_header(OLD)), an_image(a_long_pax_header(NEW))

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert len(patch) < 1000


def test_unchanged_files_are_carried_whole_behind_a_member_that_the_walk_does_not_get_past(tmp_path):
    behind = a_file(b"behind", noise(9000, 8)) + END
    source, target = (an_image(a_signed_checksum(build)[: -len(END)] + behind) for build in (OLD, NEW))

    patch, _ = a_patch(target, source, scratch=tmp_path)

    assert_rebuilt(target, patch, source)
    assert len(patch) > 9000
