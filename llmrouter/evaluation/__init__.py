"""Policies measured on recorded outcomes: quality against cost."""
