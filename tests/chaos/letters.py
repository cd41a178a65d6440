"""The dead letters of a run: what is invalid is among them, and nothing that should not be (P7).

What was parked is replayed by the end: a marker behind it says so (R9).
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.chaos.evidence import Evidence, Record
from tests.chaos.reading import Change, Place, Sort, Topic
from tests.chaos.verdict import Verdict

_STAMP = len("2026-03-04T10:15:30.123")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter with what its headers say.

    `origin` is None for a change without a record, and then `change` says which: the direction and
    the time of its event, to the millisecond. `owner` is the partition whose owner replays it.
    """

    record: Record
    origin: Place | None
    form: str
    reason: str
    segment: str
    member: str
    change: tuple[bool, str] | None = None
    owner: int | None = None

    @property
    def parked(self) -> bool:
        """Whether it waits for its segment to be well again."""
        return self.reason == "parked"

    def concerns(self, change: Change) -> bool:
        """Whether it is about that change."""
        segment, kind, key = change.member
        of_member = (self.segment, self.member) == (segment, f"{kind}/{key}")
        if self.origin is None:
            moment = datetime.fromtimestamp(change.version[0] // 1000 / 1000, UTC)
            stamp = moment.isoformat(timespec="milliseconds")[:_STAMP]
            return of_member and self.change == (change.entered, stamp)
        return of_member and self.origin == (change.partition, change.offset)


@dataclass(frozen=True, slots=True)
class Marker:
    """What says that letters of a segment were replayed, which stand before it."""

    record: Record
    segment: str
    owners: frozenset[int]
    ranges: tuple[tuple[int, int], ...]

    def covers(self, letter: Letter) -> bool:
        """Whether that is one of them."""
        stands = letter.record
        return (
            (stands.partition, letter.segment) == (self.record.partition, self.segment)
            and stands.offset < self.record.offset
            and letter.owner in self.owners
            and any(first <= stands.offset < end for first, end in self.ranges)
        )


class Letters:
    """All dead letters, by the record that they stand for."""

    def __init__(self, records: Iterable[Record]) -> None:
        records = tuple(records)
        self.all = [_letter(record) for record in records if not _is_marker(record)]
        self._markers = [_marker(record) for record in records if _is_marker(record)]
        self.by_origin: dict[Place, list[Letter]] = defaultdict(list)
        # What came from another replica by the shared store has no record where it was refused.
        self.without_origin: list[Letter] = []
        for letter in self.all:
            if letter.origin is not None:
                self.by_origin[letter.origin].append(letter)
            else:
                self.without_origin.append(letter)

    def written(self, place: Place, until: float) -> bool:
        """Whether the brokers had a letter for a record by that time."""
        return any(letter.record.at <= until for letter in self.by_origin[place])

    def parked(self) -> list[Letter]:
        """What was parked and not replayed."""
        return [
            letter
            for letter in self.all
            if letter.parked and not any(marker.covers(letter) for marker in self._markers)
        ]

    def refused(self, change: Change) -> bool:
        """Whether there is a letter that says that LaunchDarkly did not take this change."""
        return self.holds(change, float("inf"), parked=False)

    def holds(self, change: Change, until: float, *, parked: bool = True) -> bool:
        """Whether the brokers had one by that time; by default what was parked counts, too."""
        return any(
            letter.concerns(change) and letter.record.at <= until and (parked or not letter.parked)
            for letter in (
                *self.by_origin[change.partition, change.offset],
                *self.without_origin,
            )
        )


def judge_letters(evidence: Evidence, topic: Topic, letters: Letters, verdict: Verdict) -> None:
    """Every invalid record is a letter, byte for byte; every letter is of a record that may be."""
    if evidence.setting.dead_letter_topic is None:
        return
    for place, sort in topic.sorts.items():
        if sort is Sort.INVALID:
            verdict.looked_at["P7 invalid records"] += 1
            if not letters.by_origin[place]:
                verdict.blame("P7", f"record {_name(place)} is invalid, and no dead letter has it")
    for letter in letters.parked():
        what = f"{letter.member} of {letter.segment} was parked, and never replayed"
        verdict.blame("R9", what, letter.record.at)
    for letter in letters.all:
        verdict.looked_at["R9 parked letters"] += letter.parked
        verdict.looked_at["P7 dead letters"] += 1
        wrong = _wrong(letter, topic)
        if wrong:
            verdict.blame("P7", wrong, letter.record.at)


def _wrong(letter: Letter, topic: Topic) -> str:
    if letter.origin is None:
        return ""
    original = topic.records.get(letter.origin)
    if original is None:
        return f"a dead letter is of record {_name(letter.origin)}, which is not in the topic"
    where = f"the dead letter of record {_name(letter.origin)}"
    if not _is_copy(letter, original):
        return f"{where} is not what the record is: {letter.record.value!r}"
    sort = topic.sorts[letter.origin]
    if sort is Sort.INVALID or (sort is Sort.CHANGE and letter.member):
        return ""
    return f"{where} says {letter.reason}, but the record is: {sort.value}"


def _is_copy(letter: Letter, original: Record) -> bool:
    if letter.form == "pointer":
        digest = hashlib.sha256(original.value or b"").hexdigest()
        return bool(json.loads(letter.record.value or b"{}").get("sha256") == digest)
    return (letter.record.key, letter.record.value) == (original.key, original.value)


def _is_marker(record: Record) -> bool:
    """Whether it only says that letters were replayed, and is none itself."""
    return ("ldsync-value", b"marker") in record.headers


def _letter(record: Record) -> Letter:
    headers = _headers(record)
    form = headers.get("ldsync-value", "original")
    segment, member = headers.get("ldsync-segment", ""), headers.get("ldsync-member", "")
    reason = headers.get("ldsync-reason", "")
    owner = int(headers["ldsync-partition"]) if "ldsync-partition" in headers else None
    if owner is not None and "ldsync-offset" in headers:
        origin = owner, int(headers["ldsync-offset"])
        return Letter(record, origin, form, reason, segment, member, owner=owner)
    if form != "change":
        raise ValueError(f"letter {record.partition}/{record.offset} does not say of what it is")
    said = json.loads(record.value or b"{}")
    change = said["action"] == "add", said["version"][:_STAMP]
    return Letter(record, None, form, reason, segment, member, change, owner)


def _marker(record: Record) -> Marker:
    said = json.loads(record.value or b"{}")
    (owners,) = said["partitions"].values()  # of one topic
    ranges = tuple((first, end) for first, end in said["letters"])
    return Marker(record, said["segment"], frozenset(owners), ranges)


def _headers(record: Record) -> dict[str, str]:
    return {name: (content or b"").decode() for name, content in record.headers}


def _name(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
