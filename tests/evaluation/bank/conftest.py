import pytest


class KilledError(Exception):
    """Work was stopped."""


@pytest.fixture
def killed():
    """What `kill` raises."""
    return KilledError


@pytest.fixture
def kill():
    """A report that stops the work after its first half, one step into the second."""

    def report(done: int, total: int) -> None:
        if done == total // 2 + 1:
            raise KilledError

    return report
