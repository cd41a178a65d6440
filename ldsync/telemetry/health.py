"""What the health endpoints say: do the loops turn, and is this process ready?

Liveness is about this process alone. It never depends on Kafka or LaunchDarkly: a restart would not
repair them, and would lose what is buffered.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """When a loop of the program last turned, in seconds, and how long it may take."""

    name: str
    age_seconds: float
    limit_seconds: float

    @property
    def ok(self) -> bool:
        """The loop turned within its limit."""
        return self.age_seconds <= self.limit_seconds


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to `/healthz` and `/readyz`.

    Attributes:
        checks: The loops that must turn.
        ready: Joined the group, knows the environment, not draining. No partitions is ready.
        reasons: Why it is not ready, in words.
    """

    checks: tuple[Check, ...]
    ready: bool
    reasons: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Every loop turns."""
        return all(check.ok for check in self.checks)
