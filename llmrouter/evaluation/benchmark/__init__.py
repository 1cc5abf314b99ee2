"""`llmrouter eval`: policies measured on outcome files."""
