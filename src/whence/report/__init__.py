"""The report of an ensemble: one HTML file that needs nothing else, for people who don't know ensembles."""

from whence.report.page import write_report

__all__ = ["write_report"]
