"""Spans and metrics, observed from outside; every name in one module."""
