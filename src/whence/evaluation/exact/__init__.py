"""Scores against the exact counterfactuals of an encoded ensemble."""
