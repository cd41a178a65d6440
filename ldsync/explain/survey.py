"""Many events summed up: what `ldsync check-events` reports, in bounded memory.

Records are decoded as the worker decodes them, and of each member the newest change counts, as far
as it was seen. Members are counted exactly up to half a million; beyond that only every second,
fourth, … of them is kept, chosen by a digest, and their number is an estimate.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from ldsync.engage.decoder import Several
from ldsync.engage.explanation import CHANGE
from ldsync.engage.times import Fallback, split
from ldsync.engage.words import words_of
from ldsync.sync.change import Change, includes, supersedes
from ldsync.sync.outcomes import RecordOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from ldsync.engage.decoder import Decoder, Record
    from ldsync.engage.segments import Collision
    from ldsync.engage.verdict import Verdict

MOST_MEMBERS: Final = 500_000
"""Members of all segments together that are remembered."""

MOST_SEGMENTS: Final = 10_000
"""Segments that are told apart; changes of further ones are counted as `unlisted`."""


@dataclass(slots=True)
class SegmentSeen:
    """What was seen of one segment.

    `members` and `removed` are how many members would be in it and out of it after these events.
    """

    key: str
    name: str
    audience_id: str
    audience_key: str
    adds: int = 0
    removes: int = 0
    members: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen; `outcomes` by outcome and reason, with the reason in words.

    `invalid_ratio` is the part of the records that is invalid; 0 if there are none. `beside` are
    invalid parts of records that change something as well, `unlisted` changes of segments that are
    not told apart. `collisions` are audiences that ask for a segment key like that of another, at
    most a thousand. `exact` says whether members were counted or estimated. `first` and `last` are
    the times of the oldest and newest change.
    """

    records: int
    invalid_ratio: float
    outcomes: list[dict[str, Any]]
    beside: list[dict[str, Any]]
    adds: int
    removes: int
    segments: list[SegmentSeen]
    unlisted: int
    exact: bool
    fallbacks: dict[Fallback, int]
    collisions: list[Collision]
    first: str | None
    last: str | None


class Survey:
    """Takes records, chunk by chunk, and reports on them.

    Args:
        decoder: What to decode with; its fallbacks are reported as they are in the end.
        most_members: Members to remember.
        most_segments: Segments to tell apart.
    """

    def __init__(
        self,
        decoder: Decoder,
        most_members: int = MOST_MEMBERS,
        most_segments: int | None = None,
    ) -> None:
        self._decoder = decoder
        self._most_segments = most_segments or MOST_SEGMENTS
        self._members = _Members(most_members)
        self._records = 0
        self._verdicts: Counter[Verdict] = Counter()
        self._beside: Counter[Verdict] = Counter()
        self._unlisted = 0
        self._segments: dict[str, SegmentSeen] = {}
        self._times: list[str] = []

    def take(self, records: Iterable[Record]) -> None:
        """Decode these records and count what they say."""
        for record in records:
            self._records += 1
            found = self._decoder.read(record.value, record.timestamp)
            if isinstance(found, Change):
                self._change(found)
            elif isinstance(found, Several):
                for change in found.changes:
                    self._change(change)
                if found.worst is not None and found.worst.outcome is RecordOutcome.INVALID:
                    self._beside[found.worst] += 1
            else:
                self._verdicts[found] += 1

    async def take_all(self, chunks: AsyncIterator[Iterable[Record]]) -> None:
        """Take chunks as they come, to the end."""
        async for records in chunks:
            self.take(records)

    def _change(self, change: Change) -> None:
        target, member, stamp = change
        segment = self._segments.get(target.segment.key)
        if segment is None:
            if len(self._segments) >= self._most_segments:
                self._unlisted += 1
                return
            of = target.segment
            segment = SegmentSeen(of.key, of.name, of.audience_id, of.audience_key)
            self._segments[of.key] = segment
        if includes(stamp):
            segment.adds += 1
        else:
            segment.removes += 1
        time = stamp[:-1]
        if not self._times:
            self._times = [time, time]
        self._times = [min(self._times[0], time), max(self._times[1], time)]
        self._members.note(segment.key, member, stamp)

    def report(self) -> Report:
        """Say what was seen so far."""
        self._members.count(self._segments)
        changed = self._records - self._verdicts.total()
        outcomes = [{"outcome": CHANGE, "reason": None, "words": None, "records": changed}]
        first, last = [split(time)[0] for time in self._times] or (None, None)
        invalid = sum(
            count for one, count in self._verdicts.items() if one.outcome is RecordOutcome.INVALID
        )
        return Report(
            self._records,
            invalid / max(1, self._records),
            [*(outcomes if changed else []), *_rows(self._verdicts)],
            _rows(self._beside),
            sum(segment.adds for segment in self._segments.values()),
            sum(segment.removes for segment in self._segments.values()),
            sorted(self._segments.values(), key=lambda one: (-one.members, -one.adds, one.key)),
            self._unlisted,
            self._members.exact,
            dict(self._decoder.fallbacks),
            list(self._decoder.collisions),
            first,
            last,
        )


class _Members:
    """The newest change of members, of all or of a part that is chosen by their digests.

    When there are too many, half of them are forgotten, and half of those to come: each that is
    left then stands for twice as many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._mask = 0
        self._stamps: dict[str, dict[int, str]] = {}
        self._held = 0

    @property
    def exact(self) -> bool:
        """Whether nobody was left out."""
        return self._mask == 0

    def note(self, segment: str, member: str, stamp: str) -> None:
        """Remember a change, unless a newer one is known of its member."""
        digest = int.from_bytes(blake2b(member.encode(), digest_size=8).digest())
        if digest & self._mask:
            return
        stamps = self._stamps.setdefault(segment, {})
        known = stamps.get(digest)
        if known is None:
            self._held += 1
        if known is None or supersedes(stamp, known):
            stamps[digest] = stamp
        while self._held > self._most:
            self._halve()

    def _halve(self) -> None:
        self._mask = self._mask * 2 + 1
        for segment, stamps in self._stamps.items():
            self._stamps[segment] = {
                digest: stamp for digest, stamp in stamps.items() if not digest & self._mask
            }
        self._held = sum(map(len, self._stamps.values()))

    def count(self, segments: dict[str, SegmentSeen]) -> None:
        """Write down how many members are in and out of each segment."""
        each = self._mask + 1
        for key, stamps in self._stamps.items():
            inside = sum(map(includes, stamps.values()))
            segments[key].members = inside * each
            segments[key].removed = (len(stamps) - inside) * each


def _rows(counted: Counter[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "outcome": verdict.outcome.value,
            "reason": verdict.reason,
            "words": words_of(verdict),
            "records": count,
        }
        for verdict, count in counted.most_common()
    ]
