"""A router for LLM requests: decides, explains, executes."""
