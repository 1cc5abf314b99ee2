"""The learning loop, replayed over an outcome set."""
