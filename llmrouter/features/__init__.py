"""What a request says of itself: normalised text, features, the fingerprint."""
