"""Commands that have a file of their own; `cli` puts them beside the others."""
