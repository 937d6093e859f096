"""Matches that jump about are straightened, if that does not cost more than it saves."""

import random

from imagedelta.delta.encode.drift import straighten
from imagedelta.delta.encode.matches import Match

RECORD = 24
CHOSEN = random.Random(3)
TABLE = [CHOSEN.randbytes(8) + bytes(16) for _ in range(90)]
OLD = b"".join(TABLE)
NEW = b"".join([*TABLE[:30], bytes(range(24)), *TABLE[30:59], *TABLE[60:]])
MATCHES = [
    Match(0, 0, 30 * RECORD),
    Match(30 * RECORD, 31 * RECORD, 29 * RECORD),
    Match(60 * RECORD, 60 * RECORD, 30 * RECORD),
]


def test_matches_of_one_drift_are_joined_where_half_of_what_is_between_is_equal():
    assert straighten(MATCHES, OLD, NEW) == [Match(0, 0, len(NEW))]


def test_where_equal_bytes_count_a_table_is_not_joined_beside_its_records():
    assert straighten(MATCHES, OLD, NEW, 6) == MATCHES


def test_where_equal_bytes_count_a_match_that_saves_few_is_given_up():
    found = [Match(0, 0, 480), Match(1000, 480, 5), Match(485, 485, 500)]

    assert straighten(found, OLD, OLD, 6) == [Match(0, 0, 985)]
