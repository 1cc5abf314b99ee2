"""Measurements, as ratios taken in one run on one machine. Each prints a table; none is a test."""
