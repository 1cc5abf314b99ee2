"""The wire formats, one file each; `registry` lists them and translates between them."""
