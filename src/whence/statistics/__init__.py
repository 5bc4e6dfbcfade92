"""Statistics that several rooms share: intervals, ranks, tests, agreement."""
