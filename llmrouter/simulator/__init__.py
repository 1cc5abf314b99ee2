"""An OpenAI-compatible upstream that says it is simulated."""
