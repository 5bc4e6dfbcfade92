"""What a verification found: a list of checks and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from whence.errors import WhenceError

#: Name of a check, and the function that returns what it found or raises why it doesn't hold.
Step = tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: What was checked.
        ok: Whether it holds; None if it was not checked.
        detail: What was found, or why it was not checked.
    """

    name: str
    ok: bool | None
    detail: str

    def __str__(self) -> str:
        """One line."""
        mark = {True: "ok         ", False: "FAILED     ", None: "not checked"}[self.ok]
        return f"{mark}  {self.name}: {self.detail}"


@dataclass
class Verification:
    """All checks of a document, in order.

    Attributes:
        checks: What was checked.
        statement: What the document says.
        not_proven: What it doesn't say, even if all holds.

    Example:
        >>> found = Verification()
        >>> found.stage([("sum", lambda: "1 + 1 is 2")])
        >>> found.skip("run", "without --run")
        >>> found.ok, found.verdict
        (True, 'VERIFIED, except for what was not checked: run')
    """

    checks: list[Check] = field(default_factory=list)
    statement: str = ""
    not_proven: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing that was checked failed."""
        return all(check.ok is not False for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it was refused."""
        return [check.detail for check in self.checks if check.ok is False]

    @property
    def verdict(self) -> str:
        """The last word: VERIFIED, with what was left unchecked, or REFUSED, with the first reason."""
        if not self.ok:
            return f"REFUSED: {self.reasons[0]}"
        left = [check.name for check in self.checks if check.ok is None]
        return "VERIFIED" + (f", except for what was not checked: {'; '.join(left)}" if left else "")

    def stage(self, steps: Sequence[Step]) -> None:
        """Carry out checks that don't depend on each other.

        After a stage that failed, a later one is not carried out: its checks trust what the earlier ones established.
        """
        if self.ok:
            self.checks += [Check(name, *_outcome(step)) for name, step in steps]
        else:
            self.checks += [Check(name, None, "a check before this one failed") for name, _ in steps]

    def skip(self, name: str, why: str) -> None:
        """Note that something was not checked."""
        self.checks.append(Check(name, None, why))


def _outcome(step: Callable[[], str]) -> tuple[bool, str]:
    """Whether a check holds, and what it found. Nothing in a stranger's files may end in anything but a refusal."""
    try:
        return True, step()
    except WhenceError as error:
        return False, str(error)
    except Exception as error:
        return False, f"this could not be checked ({type(error).__name__}: {error})"
