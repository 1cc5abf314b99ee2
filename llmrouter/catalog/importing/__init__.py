"""Catalog files from other sources: a LiteLLM configuration, `/v1/models`, or a price list."""
