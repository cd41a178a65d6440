"""The dead letters of a run: what is invalid is among them, and nothing that should not be (P7)."""

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
    the time of its event, to the millisecond.
    """

    record: Record
    origin: Place | None
    form: str
    reason: str
    segment: str
    member: str
    change: tuple[bool, str] | None = None

    def concerns(self, change: Change) -> bool:
        """Whether it is about that change."""
        segment, kind, key = change.member
        of_member = (self.segment, self.member) == (segment, f"{kind}/{key}")
        if self.origin is None:
            moment = datetime.fromtimestamp(change.version[0] // 1000 / 1000, UTC)
            stamp = moment.isoformat(timespec="milliseconds")[:_STAMP]
            return of_member and self.change == (change.entered, stamp)
        return of_member and self.origin == (change.partition, change.offset)


class Letters:
    """All dead letters, by the record that they stand for."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.all = [_letter(record) for record in records if not _is_marker(record)]
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

    def refusal_of(self, change: Change, until: float) -> bool:
        """Whether they had one that says that this change was refused or parked."""
        return any(
            letter.concerns(change) and letter.record.at <= until
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
    for letter in letters.all:
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
    headers = {name: (content or b"").decode() for name, content in record.headers}
    form = headers.get("ldsync-value", "original")
    segment, member = headers.get("ldsync-segment", ""), headers.get("ldsync-member", "")
    reason = headers.get("ldsync-reason", "")
    if "ldsync-offset" in headers:
        origin = int(headers["ldsync-partition"]), int(headers["ldsync-offset"])
        return Letter(record, origin, form, reason, segment, member)
    if form != "change":
        raise ValueError(f"letter {record.partition}/{record.offset} does not say of what it is")
    said = json.loads(record.value or b"{}")
    change = said["action"] == "add", said["version"][:_STAMP]
    return Letter(record, None, form, reason, segment, member, change)


def _name(place: Place) -> str:
    return f"{place[0]}/{place[1]}"
