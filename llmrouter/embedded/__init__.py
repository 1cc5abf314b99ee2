"""The models behind `llmrouter run`: local llama.cpp servers that need no key and no network."""
