"""Frozen values and the ports between rooms. No I/O, no vendor, no settings."""
