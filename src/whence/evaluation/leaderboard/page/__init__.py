"""The page of the leaderboard: what was measured, as docs/leaderboard.md and its plots."""

from whence.evaluation.leaderboard.page.page import write_page

__all__ = ["write_page"]
