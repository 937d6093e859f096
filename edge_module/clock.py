"""Between which seconds since 1970 a clock is taken for one that somebody has set: this program is no older."""

YEAR_2026 = 1_767_225_600
YEAR_2100 = 4_102_444_800
