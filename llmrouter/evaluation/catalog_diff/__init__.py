"""`llmrouter catalog diff`: what an edited catalog would change."""
