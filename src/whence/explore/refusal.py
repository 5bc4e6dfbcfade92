"""What the explorer refuses."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not answered, with a status from 400 on and one sentence for the visitor."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def unknown(noun: str) -> Refusal:
    """The refusal of a name that is in no table."""
    return Refusal(404, f"There is no such {noun} here.")
