"""Any header comes back from its columns or is refused whole; any columns give headers or are refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from imagedelta.delta.format import number_forms
from imagedelta.delta.format.header_columns import BLOCK, Column
from imagedelta.errors import ContentError
from tests.unit.delta.header_tapes import a_header, joined, reader_of, split, with_checksum


def _texts(width):
    return st.text("ab/.", max_size=width)


CANONICAL = st.builds(
    a_header,
    _texts(100).filter(lambda name: not name.endswith("/")),
    mode=st.integers(0, 8**7 - 1),
    uid=st.integers(0, 8**7 - 1),
    gid=st.sampled_from([0, 1000]),
    size=st.integers(0, 8**11 - 1),
    mtime=st.integers(0, 8**11 - 1),
    type=st.sampled_from([b"0", b"1", b"2", b"5", b"x"]),
    linkname=_texts(100),
    uname=_texts(31),
    gname=_texts(31),
)
BLOCKS = st.one_of(
    st.binary(min_size=BLOCK, max_size=BLOCK),
    st.builds(
        lambda block, at, junk, form: with_checksum((block[:at] + junk + block[at + len(junk) :])[:BLOCK], form),
        CANONICAL,
        st.integers(0, BLOCK - 1),
        st.binary(max_size=12),
        st.sampled_from(["%06o\0 ", "%06o \0", "%07o\0"]),
    ),
)
NUMBERS = st.tuples(st.sampled_from(range(9)), st.integers(0, 8**6 - 1))
FORMED = st.builds(
    lambda block, fields: with_checksum(
        block[:100]
        + b"".join(
            number_forms.write(*number, width) or b"" for number, width in zip(fields, (8, 8, 8, 12, 12), strict=True)
        )
        + block[148:]
    ),
    CANONICAL,
    st.tuples(*(NUMBERS for _ in range(5))),
)
REFERENCES = st.one_of(st.none(), CANONICAL, FORMED, BLOCKS)


@given(st.lists(st.tuples(CANONICAL, st.one_of(st.none(), CANONICAL)), max_size=6))
def test_canonical_headers_always_fit_and_come_back(headers):
    columns, taken = split(*headers)

    assert all(taken)
    assert joined(columns, [reference for _, reference in headers]) == [block for block, _ in headers]


@given(st.lists(st.tuples(FORMED, st.one_of(st.none(), FORMED)), max_size=6))
def test_numbers_of_any_form_fit_and_come_back(headers):
    columns, taken = split(*headers)

    assert all(taken)
    assert joined(columns, [reference for _, reference in headers]) == [block for block, _ in headers]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.one_of(CANONICAL, FORMED, BLOCKS), REFERENCES), max_size=6))
def test_any_block_comes_back_or_is_refused_with_nothing_written(headers):
    columns, taken = split(*headers)

    fitting = [header for header, fits in zip(headers, taken, strict=True) if fits]
    assert columns == split(*fitting)[0]
    assert joined(columns, [reference for _, reference in fitting]) == [block for block, _ in fitting]


@settings(max_examples=1000)
@given(st.fixed_dictionaries({column: st.binary(max_size=300) for column in Column}), st.lists(REFERENCES, max_size=6))
def test_any_columns_give_headers_or_are_refused(columns, references):
    reader, _ = reader_of(columns)

    try:
        blocks = [reader.read(reference) for reference in references]
    except ContentError:
        return
    assert all(len(block) == BLOCK for block in blocks)
