"""Requests that the explorer does not answer."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is not answered, with a status from 400 on and one sentence for the visitor."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class UnknownNameError(RequestError):
    """A request with a name that is in no table."""

    def __init__(self, noun: str) -> None:
        super().__init__(404, f"There is no such {noun} here.")
