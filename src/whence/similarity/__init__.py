"""Similarity of pictures, by pixels or embeddings: baselines that are not influence."""
