"""The files a user edits: parsed strictly, checked whole, swapped atomically."""
