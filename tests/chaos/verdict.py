"""What the judge says: violations, each a sentence, and how much was looked at."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong.

    Attributes:
        rule: The promise or rule of docs/design.md that it breaks: `P1`, `R1`; or `life`, of a
            process or a whole run that does not end as it should.
        what: What, and where.
        at: When, in seconds since the epoch; None if it is about the end.
    """

    rule: str
    what: str
    at: float | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.what} ({'at the end' if self.at is None else clock(self.at)})"


@dataclass(slots=True)
class Verdict:
    """The judgement of one run.

    Attributes:
        violations: What is wrong; empty if all is well.
        looked_at: How many things each check compared, so that an empty check is seen.
        exempt: Members that P2 does not promise anything of, by the reason.
    """

    violations: list[Violation] = field(default_factory=list)
    looked_at: Counter[str] = field(default_factory=Counter)
    exempt: Counter[str] = field(default_factory=Counter)

    def blame(self, rule: str, what: str, at: float | None = None) -> None:
        """Add a violation."""
        self.violations.append(Violation(rule, what, at))

    def __iter__(self) -> Iterator[Violation]:
        return iter(self.violations)

    @property
    def rules(self) -> list[str]:
        """The rules that were broken, each once, sorted."""
        return sorted({violation.rule for violation in self.violations})


def clock(at: float) -> str:
    """A time of day in UTC, to the millisecond, as in the logs of the processes."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
