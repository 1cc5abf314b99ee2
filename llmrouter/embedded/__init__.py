"""The local models behind `llmrouter run`: real llama.cpp servers that need no key and no network."""
