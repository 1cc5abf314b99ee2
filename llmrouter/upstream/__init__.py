"""The edge to models: the router LLM through openai, targets through a byte relay."""
