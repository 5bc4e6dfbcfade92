"""The report of an ensemble: its pictures, landscapes, counterfactuals and placebos."""

from whence.report.ensemble.page import write_report

__all__ = ["write_report"]
