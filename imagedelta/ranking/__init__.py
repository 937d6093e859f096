"""Choosing sources from signatures alone."""

from imagedelta.ranking.rank import Ranked, estimate_full, rank

__all__ = ["Ranked", "estimate_full", "rank"]
