"""What was decided and what came of it, as entries to replay and to learn from."""
