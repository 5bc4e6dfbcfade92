"""One kernel for all gradient methods."""
