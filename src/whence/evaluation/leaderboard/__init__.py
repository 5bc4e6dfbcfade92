"""The leaderboard: every method by every measure, and the page that shows it."""
