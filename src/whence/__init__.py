"""Training data attribution for diffusion models."""
