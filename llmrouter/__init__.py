"""A router for LLM requests: decides, explains, executes."""

__version__ = "0.1.0"
