"""Pages of audits: training images that stand out, membership, memorisation; for people who are not of the field."""

from whence.report.audit.data_page import write_data_page
from whence.report.audit.membership_page import write_membership_page
from whence.report.audit.memorisation_page import write_memorisation_page

__all__ = ["write_data_page", "write_membership_page", "write_memorisation_page"]
