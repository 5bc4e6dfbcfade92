"""Pages of credit: one for a contributor, in plain words, and one for all contributors."""

from whence.report.credit.page import write_credit_report
from whence.report.credit.statement import write_statement

__all__ = ["write_credit_report", "write_statement"]
