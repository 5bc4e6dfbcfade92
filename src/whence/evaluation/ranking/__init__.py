"""Measures of the examples at the top of a ranking, as proposed in the papers of the methods."""
