"""Small values and bounded logs: one contract, several backends, never pickle."""
