"""`llmrouter train`: a preference model from outcomes, rules or the journal."""
