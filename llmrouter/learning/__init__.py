"""What was decided and how it went, and a model that learns from both."""
