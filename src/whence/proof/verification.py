"""The outcome of a verification: every check with its finding, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from whence.errors import WhenceError

#: Name of a check, and the function that returns its finding or raises why the check fails.
Step = tuple[str, Callable[[], str]]


@dataclass(frozen=True)
class Check:
    """One check: what was checked, whether it holds (None: it was not checked), and the finding, or why not checked."""

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
        checks: The checks.
        statement: The statement of the document.
        not_proven: What the document does not show, even if every check holds.

    Example:
        >>> verification = Verification()
        >>> verification.stage([("sum", lambda: "1 + 1 is 2")])
        >>> verification.skip("run", "without --run")
        >>> verification.ok, verification.verdict
        (True, 'VERIFIED, except for what was not checked: run')
    """

    checks: list[Check] = field(default_factory=list)
    statement: str = ""
    not_proven: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.ok is not False for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why the document was refused."""
        return [check.detail for check in self.checks if check.ok is False]

    @property
    def verdict(self) -> str:
        """VERIFIED, with the names of what was not checked, or REFUSED, with the first reason."""
        if not self.ok:
            return f"REFUSED: {self.reasons[0]}"
        unchecked = [check.name for check in self.checks if check.ok is None]
        return "VERIFIED" + (f", except for what was not checked: {'; '.join(unchecked)}" if unchecked else "")

    def stage(self, steps: Sequence[Step]) -> None:
        """Carry out checks that don't depend on each other, but rely on earlier ones: none of those may have failed."""
        if self.ok:
            self.checks += [Check(name, *_outcome(step)) for name, step in steps]
        else:
            self.checks += [Check(name, None, "a check before this one failed") for name, _ in steps]

    def skip(self, name: str, why: str) -> None:
        """Note that something was not checked."""
        self.checks.append(Check(name, None, why))


def _outcome(step: Callable[[], str]) -> tuple[bool, str]:
    """Whether a check holds, and its finding. Any error that a stranger's file causes is a refusal."""
    try:
        return True, step()
    except WhenceError as error:
        return False, str(error)
    except Exception as error:
        return False, f"this could not be checked ({type(error).__name__}: {error})"
