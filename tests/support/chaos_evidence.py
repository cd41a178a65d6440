"""Hand-made evidence for tests of the chaos judge: a short run in which all is well.

Two processes and a keyed topic of two partitions. `ann` (partition 0) enters and leaves, `ben`
(partition 1) enters; one record is invalid. The first process is killed while a write of `ann` has
no answer, and the second one goes on after the settle time. Tests change one thing and ask.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.chaos.evidence import (
    Action,
    End,
    Evidence,
    Exchange,
    Freeze,
    Life,
    MemberWrite,
    Placed,
    Quiet,
    Record,
    Sample,
    Setting,
    Store,
)
from tests.support.offsets_topic import Commit
from tests.support.traffic import engage_event

T0 = 1_770_000_000.0  # the run begins
SETTLE = 3.0
INVALID = b'{"type": "identify", '

SETTING = Setting(
    seed=1,
    topic="events",
    keyed=True,
    replicas=2,
    store=Store.MEMORY,
    write_path="standard",
    exit_action="remove",
    dead_letter_topic="letters",
    settle_seconds=SETTLE,
)


def record(
    partition: int, offset: int, at: float, value: bytes | None, key: bytes | None = b"k"
) -> Record:
    """A record written `at` seconds after the beginning."""
    return Record(partition, offset, round((T0 + at) * 1000), key, value)


def change(  # noqa: PLR0917 - in tables they are read like a line of a log
    partition: int,
    offset: int,
    at: float,
    user: str,
    entered: bool,
    moment: float | None = None,
    audience: str = "vip",
) -> Record:
    """A change; `moment` is the event's own time, that of the record unless it is given."""
    time = datetime.fromtimestamp(T0 + (at if moment is None else moment), UTC)
    event = engage_event(user, audience, entered, time)
    return record(partition, offset, at, json.dumps(event).encode(), user.encode())


def letter(of: Record, at: float, **headers: str) -> Record:
    """The dead letter of a record, written `at` seconds after the beginning."""
    all_headers = {
        "ldsync-value": "original",
        "ldsync-partition": str(of.partition),
        "ldsync-offset": str(of.offset),
        "ldsync-reason": "not_json",
    } | {name.replace("_", "-"): text for name, text in headers.items()}
    return replace(
        record(0, of.offset, at, of.value, of.key),
        headers=tuple((name, text.encode()) for name, text in all_headers.items()),
    )


def write(
    sequence: int,
    life: int,
    arrived: float,
    *members: tuple[str, Action],
    applied: float | None = None,
    ended: float | None = None,
    segment: str = "vip",
    **other: Any,
) -> Exchange:
    """A patch that was applied and answered 10 ms after it arrived, unless told otherwise."""
    effect = arrived + 0.01 if applied is None else applied
    over = arrived + 0.01 if ended is None else ended
    given: dict[str, Any] = {
        "sequence": sequence,
        "life": life,
        "route": "patch_segment",
        "path": f"/api/v2/segments/shop/production/{segment}",
        "arrived": T0 + arrived,
        "applied": T0 + effect,
        "order": sequence,
        "late": False,
        "status": 200,
        "ended": T0 + over,
        "ending": "answered",
        "writes": tuple(MemberWrite(segment, "user", key, action) for key, action in members),
    }
    return Exchange(**(given | other))


def silent(exchange: Exchange, ended: float) -> Exchange:
    """The same request, but the client is told nothing and gives up."""
    return replace(exchange, status=None, ending="abandoned", ended=T0 + ended)


def commit(partition: int, offset: int, at: float) -> Commit:
    """A commit, `at` seconds after the beginning."""
    return Commit(partition, offset, T0 + at)


def freeze(since: float, until: float) -> Freeze:
    """A process stands still between these seconds."""
    return Freeze(T0 + since, T0 + until)


def samples(consumed: int, pending: int = 0, **outcomes: int) -> tuple[Sample, ...]:
    """A page of metrics."""
    told = [
        Sample("ldsync_records_total", (("outcome", outcome), ("reason", "")), float(number))
        for outcome, number in outcomes.items()
    ]
    return (
        Sample("ldsync_records_consumed_total", (("topic", "events"),), float(consumed)),
        Sample("ldsync_records_pending", (), float(pending)),
        *told,
    )


ANN_IN = change(0, 0, 1.0, "ann", True)
ANN_OUT = change(0, 2, 2.0, "ann", False)
BROKEN = record(0, 1, 1.1, INVALID)
BEN_IN = change(1, 0, 1.0, "ben", True)

WRITES = (
    write(1, 0, 1.5, ("ben", Action.INCLUDE)),
    silent(write(2, 0, 1.6, ("ann", Action.INCLUDE), applied=3.5), ended=1.8),
    write(3, 1, 9.0, ("ann", Action.REMOVE)),
)

KILLED = Life(
    number=0,
    started=T0 - 5,
    ended=T0 + 1.8,
    end=End.KILLED,
    asked=T0 + 1.8,
    exit_code=137,
    scrape=samples(3, pending=2, delivered=1),
    scraped=T0 + 1.7,
    peak_rss_bytes=80 * 2**20,
    rss_limit_bytes=200 * 2**20,
)
STOPPED = Life(
    number=1,
    started=T0 - 4,
    ended=T0 + 21,
    end=End.TERMINATED,
    asked=T0 + 20,
    exit_code=0,
    scrape=samples(3, delivered=1, invalid=1, coalesced=1),
    scraped=T0 + 19,
)

EVIDENCE = Evidence(
    setting=SETTING,
    quiet=Quiet(T0 + 15),
    records=(ANN_IN, BROKEN, ANN_OUT, BEN_IN),
    letters=(letter(BROKEN, 1.7),),
    commits=(commit(1, 1, 1.7), commit(0, 3, 9.5)),
    exchanges=WRITES,
    membership=(Placed("vip", "user", "ben", "included"),),
    lives=(KILLED, STOPPED),
)


def but(**changed: object) -> Evidence:
    """The evidence of a run in which all is well, but for what is given."""
    return replace(EVIDENCE, **changed)  # type: ignore[arg-type]


def refused(of: str = "ann", at: float = 9.2) -> Evidence:
    """LaunchDarkly did not take the newest change of ann, and that is a dead letter."""
    rejection = letter(
        ANN_OUT, at, ldsync_reason="bad_request", ldsync_segment="vip", ldsync_member=f"user/{of}"
    )
    return but(
        letters=(*EVIDENCE.letters, rejection),
        exchanges=WRITES[:2],
        membership=(BEN, ANN),
    )


def refused_twice() -> Evidence:
    """That change came once more, and the letter is of the first record."""
    once = refused()
    again = change(0, 3, 3.0, "ann", False, moment=2.0)
    return replace(once, records=(*once.records, again), commits=(*once.commits, commit(0, 4, 9.8)))


def marker(at: float, offset: int = 20, **said: object) -> Record:
    """What says that letters were replayed: that of her leaving, unless told otherwise."""
    headers = (("ldsync-value", b"marker"), ("ldsync-reason", b"replayed"))
    content = {
        "format": "ldsync-replayed/1",
        "segment": "vip",
        "partitions": {"events": [0]},
        "letters": [[2, 3]],
    } | said
    return replace(record(0, offset, at, json.dumps(content).encode()), headers=headers)


def parked(*markers: Record, at: float = 9.2) -> Evidence:
    """The newest change of ann was parked, and written when the segment was well again."""
    kept = letter(
        ANN_OUT, at, ldsync_reason="parked", ldsync_segment="vip", ldsync_member="user/ann"
    )
    return but(
        letters=(*EVIDENCE.letters, kept, *markers),
        exchanges=(*WRITES[:2], write(3, 1, 13.0, ("ann", Action.REMOVE))),
    )


def refused_without_record(action: str = "remove", at: float = 9.2) -> Evidence:
    """The same, but its record was not found again: the letter holds the change itself."""
    said = {
        "format": "ldsync-change/1",
        "segment": "vip",
        "context_kind": "user",
        "context_key": "ann",
        "action": action,
        "version": datetime.fromtimestamp(T0 + 2.0, UTC).isoformat(timespec="milliseconds")[:23]
        + "Z",
    }
    headers = {
        "ldsync-value": "change",
        "ldsync-reason": "bad_request",
        "ldsync-segment": "vip",
        "ldsync-member": "user/ann",
    }
    rejection = replace(
        record(0, 9, at, json.dumps(said).encode(), b"ann"),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )
    return but(
        letters=(*EVIDENCE.letters, rejection),
        exchanges=WRITES[:2],
        membership=(BEN, ANN),
    )


UNKEYED = replace(SETTING, keyed=False)
REDIS = replace(SETTING, keyed=False, store=Store.REDIS)
EXCLUDES = replace(SETTING, exit_action="exclude")
BEN = Placed("vip", "user", "ben", "included")
ANN = Placed("vip", "user", "ann", "included")
ANN_EXCLUDED = Placed("vip", "user", "ann", "excluded")
TIE = change(1, 1, 2.0, "ann", True)  # in the other partition, at the time of her leaving
LATE_NEWS = change(0, 3, 12.0, "ann", True, moment=0.5)  # comes last and is the oldest
TIED_OUT = change(0, 2, 2.0, "ann", False, moment=1.0)  # at the very time of her entering
HEALED = (
    write(4, 1, 13.0, ("ann", Action.REMOVE)),  # replaced by the newest known
)
EXCLUDED = (
    WRITES[0],
    write(2, 0, 1.6, ("ann", Action.INCLUDE)),
    write(3, 1, 9.0, ("ann", Action.REMOVE)),
    write(4, 1, 9.1, ("ann", Action.EXCLUDE)),
)
