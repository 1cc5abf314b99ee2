"""From text to vectors: hashed features, and embeddings from local or remote models."""
