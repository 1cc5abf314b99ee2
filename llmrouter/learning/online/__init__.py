"""Learning while the service runs: labels in, examples kept, models fitted and swapped."""
