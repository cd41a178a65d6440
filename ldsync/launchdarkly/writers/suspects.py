"""Members that were refused alone, remembered from one attempt to the next. Pure."""

from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

from ldsync.launchdarkly.writers.sides import Change
from ldsync.sync.change import Segment

#: So many members refused in a row, each alone, and not one accepted: it is not the members.
MAX_ALONE = 100

_MOST = 10_000


class Suspects:
    """What the search for bad members of one segment has found so far.

    A search that cannot be ended in one attempt must not begin anew in the next, or it might never
    end. What is remembered goes for a member and its stamp: a newer change of the member is a new
    case.

    `alone` counts members that were refused, with nothing but a control request as evidence that it
    is them, since a member was last accepted.
    """

    __slots__ = ("_refused", "alone")

    def __init__(self) -> None:
        self._refused: dict[str, tuple[str, str]] = {}
        self.alone = 0

    def among(self, changes: Iterable[Change]) -> dict[str, str]:
        """Return the members of these changes that were refused, with what was said of each."""
        if not self._refused:
            return {}
        found = {}
        for member, stamp in changes:
            refused = self._refused.get(member)
            if refused is not None and refused[0] == stamp:
                found[member] = refused[1]
        return found

    def remember(self, changes: Iterable[Change], refused: Mapping[str, str]) -> None:
        """Note which of these changes were refused, for the next attempt."""
        if len(self._refused) > _MOST:  # of batches that were never given back
            self._refused.clear()
        self._refused.update(
            (member, (stamp, refused[member])) for member, stamp in changes if member in refused
        )

    def forget(self, changes: Iterable[Change]) -> None:
        """These changes are done with, or have to be looked at again."""
        if self._refused:
            for member, _ in changes:
                self._refused.pop(member, None)


class AllSuspects:
    """The suspects of every segment."""

    def __init__(self) -> None:
        self._by_segment: WeakKeyDictionary[Segment, Suspects] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._by_segment)

    def of(self, segment: Segment) -> Suspects:
        """Return those of a segment."""
        found = self._by_segment.get(segment)
        if found is None:
            found = self._by_segment[segment] = Suspects()
        return found
