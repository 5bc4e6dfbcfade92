"""Methods that estimate influence by gradients, one per file, and the way from a request to scores."""
