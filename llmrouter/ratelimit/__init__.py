"""Rate limits and budgets per API key, in sliding windows over a shared store."""
