"""What the service has seen, put together for its API and the console."""
