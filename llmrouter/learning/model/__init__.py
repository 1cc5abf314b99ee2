"""The quality model, what it is made of, and how it is fitted and stored."""
