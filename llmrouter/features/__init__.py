"""What the service reads from a request: normalised text, features, the fingerprint."""
