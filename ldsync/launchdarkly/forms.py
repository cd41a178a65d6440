"""The two sorts of segments that ldsync creates: what makes them, and how they are known again."""

from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from ldsync.launchdarkly.writers.room import Room
from ldsync.sync.change import Segment


class Form(Protocol):
    """A sort of segments, for `Segments`."""

    def fields(self, segment: Segment) -> dict[str, object]:
        """What a request that creates such a segment says of its sort."""

    def objection(self, segment: Segment, found: dict[str, Any], kinds: AbstractSet[str]) -> str:
        """Why a segment that exists cannot be written as one of this sort; empty if it can.

        Args:
            segment: The segment that is meant; what is learnt of it is noted there.
            found: As LaunchDarkly shows it.
            kinds: The context kinds of the members that are to be written.
        """

    def note(self, segment: Segment, found: dict[str, Any]) -> None:
        """Take up what is known of a segment that is going to be written."""


class StandardForm:
    """Standard segments: individual targets of any context kind."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def fields(self, _segment: Segment) -> dict[str, object]:
        """It is not unbounded."""
        return {"unbounded": False}

    def objection(self, _segment: Segment, found: dict[str, Any], _kinds: AbstractSet[str]) -> str:
        """Big and synced segments take no patches of targets."""
        if found.get("unbounded") is True or found.get("_external"):
            return (
                'is a big or synced segment, which launchdarkly.write_path = "standard" cannot '
                "write: rename it, or choose another naming.segment_key"
            )
        return ""

    def note(self, segment: Segment, found: dict[str, Any]) -> None:
        """How many targets it has."""
        self._room.note_document(segment, found)


class BigForm:
    """Big segments, which have members of one context kind, fixed when they are created."""

    def fields(self, segment: Segment) -> dict[str, object]:
        """Unbounded, for contexts of the kind that was first seen."""
        return {"unbounded": True, "unboundedContextKind": segment.context_kind}

    def objection(self, segment: Segment, found: dict[str, Any], kinds: AbstractSet[str]) -> str:
        """Standard and synced segments cannot be written, nor can one of another context kind."""
        if found.get("unbounded") is not True:
            return (
                'is a standard segment, which launchdarkly.write_path = "big" cannot write: delete '
                "or rename it (ldsync then creates a big one), or choose another "
                "naming.segment_key"
            )
        if found.get("_external"):
            return (
                f"is synced from {found['_external']}, which alone may change its members: choose "
                "another naming.segment_key"
            )
        segment.context_kind = _kind(found)
        if segment.context_kind not in kinds:
            return (
                f"has members of the context kind {segment.context_kind}, not of "
                f"{', '.join(sorted(kinds))}: correct context_kind of the mapping, or choose "
                "another naming.segment_key"
            )
        return ""

    def note(self, segment: Segment, found: dict[str, Any]) -> None:
        """Its context kind."""
        segment.context_kind = _kind(found)


def _kind(found: dict[str, Any]) -> str:
    """`user` is what the API takes where none is given."""
    kind = found.get("unboundedContextKind")
    return kind if isinstance(kind, str) and kind else "user"
