"""Adapters: low-rank changes (LoRA) of the layers of a network and of its text encoder."""
