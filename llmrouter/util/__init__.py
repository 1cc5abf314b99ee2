"""Small tools without a room: tasks, a circuit breaker, an LRU cache, header lines."""
