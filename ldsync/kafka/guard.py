"""The guard against a wrong topic: invalid records must not become the greater part of it."""

from __future__ import annotations

from ldsync.kafka.errors import SourceFailed

HELD_SECONDS = 3.0
"""How long the first invalid records of a topic wait for the guard to have seen enough of it."""


class Guard:
    """Counts what was consumed of each topic and how much of that was invalid.

    A topic is judged when `least` of its records were seen, and at each `least` further ones: what
    was seen before counts half each time, so that a topic which turns bad after years is noticed.

    Args:
        most: The part of a topic that may be invalid; 1 or more is everything.
        least: Records that must have been seen before a topic is judged.
    """

    def __init__(self, most: float, least: int) -> None:
        self._most = most
        self._least = least
        self._seen: dict[str, list[int]] = {}
        self._trusted: set[str] = set()

    def note(self, topic: str, consumed: int, invalid: int) -> None:
        """Count records that were consumed.

        Raises:
            SourceFailed: too many of the topic's are invalid.
        """
        if self._most >= 1.0:
            return
        counts = self._seen.setdefault(topic, [0, 0])
        counts[0] += consumed
        counts[1] += invalid
        seen, bad = counts
        if seen < self._least:
            return
        if bad > self._most * seen:
            raise SourceFailed(
                f"{bad} of {seen} records read from {topic} are invalid, more than "
                f"dead_letters.max_invalid_ratio = {self._most:g} allows: this does not look like "
                "a topic of Segment events. ldsync stops before it copies the topic into its "
                "dead-letter topic; no offset behind records that were not copied is committed. "
                "Check kafka.topics and the mapping of the Segment destination, or raise the "
                "ratio (1 switches this off)"
            )
        counts[:] = [seen // 2, bad // 2]
        self._trusted.add(topic)

    def trusts(self, topic: str) -> bool:
        """Say whether enough was seen of a topic to copy what is invalid in it."""
        return self._most >= 1.0 or topic in self._trusted
