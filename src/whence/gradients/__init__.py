"""Compressed per-example gradients of any denoiser: readouts, layer mathematics, compression, collection."""
