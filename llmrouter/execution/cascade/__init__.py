"""Cascades: a cheap target answers first, and its answer is verified before it counts."""
