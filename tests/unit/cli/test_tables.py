"""Tables: one line per row on every terminal, ids whole, everything in a pipe."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from imagedelta_cli.cells import field, ident, sentence, when
from imagedelta_cli.tables import Column, table_lines

COLUMNS: tuple[Column, ...] = (
    ("SET", ident("id")),
    ("NAME", field("name")),
    ("STATE", field("state")),
    ("CREATED", when("at")),
    ("DETAIL", sentence("detail")),
)
ID = "set-0123456789abcdef0123456789abcdef"
ITEM = {"id": ID, "name": "the second app " * 4, "state": "in_transit", "at": "2030-01-01T10:11:12.5Z", "detail": None}
REASON = "the device has not been seen in its hub yet: " * 4


def lines(room: int | None, **changes: object) -> list[str]:
    return list(table_lines([ITEM | changes], COLUMNS, room))


@pytest.mark.parametrize("room", [60, 80, 100, 132])
def test_a_row_is_one_line_that_fits_and_its_id_is_whole(room):
    heading, row, *_ = lines(room)

    assert max(map(cell_len, (heading, row))) <= room
    assert row.split()[0] == ID


def test_the_widest_column_gives_way_first():
    row = lines(100)[1]

    assert "in_transit" in row
    assert "2030-01-01 10:11:12" in row
    assert row.split("  ")[1].endswith("…")


def test_what_does_not_fit_is_left_out_from_the_right_and_named():
    heading, row, _, remark = lines(60)

    assert heading.split() == ["SET", "NAME", "STATE"]
    assert "2030" not in row
    assert remark == "No room for CREATED: use a wider window or a pipe."


def test_a_sentence_stands_whole_below_its_row():
    _, row, *told = lines(80, detail=REASON)

    assert "device" not in row
    assert max(map(len, told)) <= 80
    assert " ".join(" ".join(told).split()) == REASON.strip()


def test_a_pipe_gets_every_cell_whole_on_one_line():
    heading, row = lines(None, detail=REASON)

    assert heading.split() == ["SET", "NAME", "STATE", "CREATED", "DETAIL"]
    for cell in (ID, ITEM["name"], "in_transit", "2030-01-01 10:11:12", REASON.strip()):
        assert cell in row


def test_columns_stay_below_their_headings_whatever_the_script():
    wide, plain = (list(table_lines([ITEM | {"name": name}], COLUMNS, 132)) for name in ("船の画像" * 9, "ship" * 9))

    assert cell_len(wide[1].partition("in_transit")[0]) == cell_len(wide[0].partition("STATE")[0])
    assert cell_len(plain[1].partition("in_transit")[0]) == cell_len(plain[0].partition("STATE")[0])


@pytest.mark.parametrize("room", [None, 80])
def test_names_from_outside_cannot_break_a_row(room):
    _, row, *_ = lines(room, name="a\nb\x1b[31m\rc[red]", id="set-\x1b]0;x\x07")

    assert r"a\nb\x1b[31m\rc[red]"[:8] in row
    assert row.isprintable()
