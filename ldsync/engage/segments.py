"""The segments that audiences are written to, and audiences that ask for the same one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from ldsync.engage import naming, verdict
from ldsync.sync.change import Segment

if TYPE_CHECKING:
    from ldsync.engage.mapping import Mapping
    from ldsync.engage.reading import Audience
    from ldsync.engage.verdict import Verdict

_MOST_COLLISIONS: Final = 1_000
"""Told apart; what comes after them is treated alike, but told to nobody."""


class OnCollision(StrEnum):
    """What to do with an audience whose segment key another audience had before."""

    SHARE = "share"
    """It writes to the same segment: an audience that was deleted and made again goes on in it."""
    REFUSE = "refuse"
    """Its events are skipped (`segment_key_collision`)."""


class Likeness(StrEnum):
    """How far two segment keys are alike."""

    SAME = "same"
    CASE = "case"
    """They differ only in case, and so do two segments; LaunchDarkly tells them apart, people
    hardly (launchdarkly-api contract 3)."""


@dataclass(frozen=True, slots=True)
class Collision:
    """An audience whose segment key is like that of another audience that came first.

    `refused` says that its events are skipped for it.
    """

    segment_key: str
    audience_id: str
    first_segment_key: str
    first_audience_id: str
    refused: bool

    @property
    def likeness(self) -> Likeness:
        """Whether the keys are the same."""
        return Likeness.SAME if self.segment_key == self.first_segment_key else Likeness.CASE


class Segments:
    """Makes the segments, one object for each key, whichever mapping asks for it.

    The first audience with a key is remembered, for `most` keys; then the key that was new longest
    ago is forgotten. `found` are the collisions that were not there before: whoever tells them
    takes them out.
    """

    __slots__ = ("_first", "_known", "_most", "_on_collision", "_segments", "_spelled", "found")

    def __init__(self, on_collision: OnCollision, most: int) -> None:
        """Begin without any."""
        self.found: list[Collision] = []
        self._on_collision = on_collision
        self._most = most
        self._first: dict[str, str] = {}
        self._spelled: dict[str, str] = {}
        self._known: set[tuple[str, str]] = set()
        self._segments: WeakValueDictionary[str, Segment] = WeakValueDictionary()

    def of(self, audience: Audience, mapping: Mapping) -> Segment | Verdict:
        """Return the segment of an audience under a mapping, or why it may not have it."""
        names = {"audience_key": audience.key, "audience_id": audience.id}
        key = naming.segment_key(mapping.segment_key, **names)
        first = self._first.get(key)
        if first is None:
            self._claim(key, audience.id)
        elif first != audience.id:
            refused = self._on_collision is OnCollision.REFUSE
            self._note(Collision(key, audience.id, key, first, refused))
            if refused:
                return verdict.SEGMENT_KEY_COLLISION
        segment = self._segments.get(key)
        if segment is None:
            segment = Segment(
                key=key,
                name=naming.rendered_name(mapping.segment_name, **names),
                audience_id=audience.id,
                audience_key=audience.key,
            )
            self._segments[key] = segment
        return segment

    def again(self, *, key: str, name: str, audience_id: str, audience_key: str) -> Segment:
        """Return the segment of a key; made as it was once, if there is none now."""
        segment = self._segments.get(key)
        if segment is None:
            segment = Segment(
                key=key, name=name, audience_id=audience_id, audience_key=audience_key
            )
            self._segments[key] = segment
        return segment

    def _claim(self, key: str, audience_id: str) -> None:
        """Remember whose key it is, and look for one that only its case tells from it."""
        if len(self._first) >= self._most:
            oldest = next(iter(self._first))
            del self._first[oldest]
            self._spelled.pop(oldest.lower(), None)
        self._first[key] = audience_id
        first = self._spelled.setdefault(key.lower(), key)
        if first != key:
            self._note(Collision(key, audience_id, first, self._first[first], refused=False))

    def _note(self, collision: Collision) -> None:
        """Have a collision told, once."""
        what = collision.segment_key, collision.audience_id
        if what not in self._known and len(self._known) < _MOST_COLLISIONS:
            self._known.add(what)
            self.found.append(collision)
