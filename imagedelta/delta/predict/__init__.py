"""Predicting what a changed file has where it refers to what moved: both sides compute it, only the rest is sent."""
