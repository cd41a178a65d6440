"""An independent judge: what LaunchDarkly must hold after a topic was read to its end.

It reads the same bytes as ldsync, by the same documented rules, with code of its own: the standard
library's JSON parser, integer arithmetic for times, one dictionary, no batches. Nothing here may be
imported from the parts that it judges, and the other way round.

The rules, in short: one record is ignored, skipped, invalid, or one change of one member; of all
changes of a member the newest decides, by `timestamp`, then `receivedAt`; a full tie inside a
partition is decided by arrival, and between partitions it is undecided.
"""

from __future__ import annotations

import calendar
import datetime as dt
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Change", "Difference", "Fold", "Judged", "Verdict"]

_SECOND = 1_000_000_000
_FUTURE = 60 * _SECOND
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_TEXTS = {"true": True, "false": False}


class Verdict(StrEnum):
    """What one record comes to."""

    CHANGE = "change"
    IGNORED = "ignored"
    """Not a membership event."""
    SKIPPED = "skipped"
    """A membership event without a usable user id."""
    INVALID = "invalid"
    """Not readable, or a membership event with a part missing or of the wrong type."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One member that is where it should not be, or not where it should be."""

    segment: str
    member: str
    expected: bool

    def __str__(self) -> str:
        if self.expected:
            return f"{self.segment}: {self.member} is missing"
        return f"{self.segment}: {self.member} should not be there"


@dataclass(frozen=True, slots=True)
class Change:
    """One user in or out of one segment, and what orders it: `(time, received)` in nanoseconds."""

    segment: str
    user: str
    included: bool
    version: tuple[int, int]
    partition: int


class Judged(NamedTuple):
    """What one record comes to; `change` if it is one."""

    verdict: Verdict
    change: Change | None = None


class Fold:
    """Folds records, given in the order of each partition, into the final memberships."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        """Records by what they came to."""
        self._newest: defaultdict[str, dict[str, Change]] = defaultdict(dict)
        self._undecided: set[tuple[str, str]] = set()

    def add(self, value: bytes | None, *, partition: int, recorded_ms: int) -> Judged:
        """Take one record in.

        Args:
            value: the record's value as it is in the topic.
            partition: where it is; records of one partition must come in its order.
            recorded_ms: the record's own timestamp, milliseconds since the epoch.
        """
        judged = _judge(value, partition, recorded_ms * 1_000_000)
        self.verdicts[judged.verdict] += 1
        if judged.change is not None:
            self._note(judged.change)
        return judged

    @property
    def members(self) -> dict[str, set[str]]:
        """Segment key to the keys of the users in it."""
        return {
            segment: {user for user, newest in known.items() if newest.included}
            for segment, known in self._newest.items()
        }

    @property
    def touched(self) -> int:
        """How many members of segments had a change: as many writes suffice in the best case."""
        return sum(len(known) for known in self._newest.values())

    def differences(self, actual: Mapping[str, Mapping[str, set[str]]]) -> list[Difference]:
        """Where a state differs from the fold; members whose order is undecided are left out.

        Args:
            actual: segment key to context kind to context keys.
        """
        found: list[Difference] = []
        for segment in sorted({*self._newest, *actual}):
            known = self._newest.get(segment, {})
            expected = {user for user, newest in known.items() if newest.included}
            undecided = {user for user in known if (segment, user) in self._undecided}
            kinds = actual.get(segment) or {}
            present = set(kinds.get("user", ()))
            for kind in kinds.keys() - {"user"}:
                present |= {f"{kind}/{key}" for key in kinds[kind]}  # no event has another kind
            found.extend(
                Difference(segment, member, member in expected)
                for member in sorted((expected ^ present) - undecided)
            )
        return found

    @property
    def names(self) -> dict[str, str]:
        """Segment key to the name it is to have: sentence case, underscores to spaces."""
        return {key: (key[:1].upper() + key[1:]).replace("_", " ") for key in self._newest}

    def _note(self, new: Change) -> None:
        known, place = self._newest[new.segment], (new.segment, new.user)
        old = known.get(new.user)
        if old is None or new.version > old.version:
            known[new.user] = new
            self._undecided.discard(place)
        elif new.version == old.version:
            known[new.user] = new
            if new.partition != old.partition and new.included != old.included:
                self._undecided.add(place)


def _judge(value: bytes | None, partition: int, recorded: int) -> Judged:
    if value is None:
        return Judged(Verdict.IGNORED)
    event = _parse(value)
    if event is None:
        return Judged(Verdict.INVALID)
    personas = _personas(event)
    if personas is None:
        return Judged(Verdict.IGNORED)
    audience, key = (_id(personas.get(f"computation_{part}")) for part in ("id", "key"))
    if audience is None or key is None:
        return Judged(Verdict.INVALID)
    included = _flag(event, key)
    if included is None:
        return Judged(Verdict.INVALID)
    user = _user(event.get("userId"))
    if user is None:
        return Judged(Verdict.SKIPPED)
    version = _version(event, recorded)
    return Judged(Verdict.CHANGE, Change(key, user, included, version, partition))


def _parse(value: bytes) -> dict[str, Any] | None:
    """The JSON object in a record; None if it is not one."""
    try:
        event = json.loads(value.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _personas(event: dict[str, Any]) -> dict[str, Any] | None:
    """`context.personas` of an event about an audience or a journey step."""
    if event.get("type") not in ("identify", "track"):
        return None
    context = event.get("context")
    personas = context.get("personas") if isinstance(context, dict) else None
    if not isinstance(personas, dict):
        return None
    return personas if personas.get("computation_class") in ("audience", "journey_step") else None


def _id(value: Any) -> str | None:
    """A non-empty text, or an integer as its decimal digits."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _user(value: Any) -> str | None:
    """A user id; a blank one is none, and one that is not blank is never trimmed."""
    user = _id(value)
    return user if user is not None and user.strip() else None


def _flag(event: dict[str, Any], key: str) -> bool | None:
    """Did the user enter (True), leave (False), or is it not said (None)?"""
    places = ("traits", "properties") if event["type"] == "identify" else ("properties", "traits")
    for place in places:
        found = event.get(place)
        if isinstance(found, dict) and key in found:
            value = found[key]
            return _TEXTS.get(value.lower()) if isinstance(value, str) else _boolean(value)
    return None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _version(event: dict[str, Any], recorded: int) -> tuple[int, int]:
    """What orders the event: its time and when it was received, in nanoseconds.

    A time of the future says that a clock is wrong; the record's own time is used then.
    """
    received = _nanoseconds(event.get("receivedAt"))
    time = _nanoseconds(event.get("timestamp"))
    if time is None:
        time = received if received is not None else recorded
    if time > recorded + _FUTURE:
        time = recorded
    return time, received or 0


def _nanoseconds(text: Any) -> int | None:
    """ISO-8601 to nanoseconds since the epoch; None if it is not a date; no zone means UTC."""
    match = _ISO.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    *parts, fraction, zone = match.groups()
    try:
        moment = dt.datetime(*map(int, parts), tzinfo=dt.UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    seconds = calendar.timegm(moment.utctimetuple())
    if zone and zone not in "Zz":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        seconds -= minutes * 60 * (1 if zone[0] == "+" else -1)
    return seconds * _SECOND + int((fraction or "").ljust(9, "0"))
