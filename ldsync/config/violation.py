"""What a rule between keys has to say when it does not hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that does not hold: for which keys, the first being the one to speak of, and why."""

    keys: tuple[str, ...]
    message: str
