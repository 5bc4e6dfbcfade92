"""Scores of training examples for queries: the type, its standard errors, and its tables."""
