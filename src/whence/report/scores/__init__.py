"""The report of scores: for every query its proponents and opponents in pictures, with their Monte Carlo error."""

from whence.report.scores.page import write_scores_report

__all__ = ["write_scores_report"]
