"""Who is asking: API keys, tiers and the admin key."""
