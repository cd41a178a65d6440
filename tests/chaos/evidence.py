"""Everything that a chaos run recorded, as plain values: the judge judges by it, and nothing else.

`archive` keeps it as files. All times are seconds since the epoch, of one machine: those of the
brokers (records, commits), of the simulator (exchanges) and of the runner (all else) compare.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.support.offsets_topic import Commit


class Store(StrEnum):
    """Where versions are kept: `ordering.store`."""

    MEMORY = "memory"
    REDIS = "redis"


class Action(StrEnum):
    """What a write does with a member."""

    INCLUDE = "include"
    REMOVE = "remove"
    EXCLUDE = "exclude"
    UNEXCLUDE = "unexclude"


class End(StrEnum):
    """How a process came to its end."""

    TERMINATED = "terminated"  # SIGTERM, once
    HURRIED = "hurried"  # SIGTERM, and a second signal before it had ended
    KILLED = "killed"  # SIGKILL
    BY_ITSELF = "by_itself"  # nobody asked


@dataclass(frozen=True, slots=True)
class Setting:
    """What of the plan the judge has to know.

    Attributes:
        seed: What the run was made from.
        topic: The topic with the events; the letters name it.
        keyed: Whether records carry the user as their key, so that a member has one partition.
        replicas: The most processes that were meant to live at one time.
        store: Where versions are kept.
        write_path: `standard`, `big` or `synced`.
        exit_action: `remove` or `exclude`.
        dead_letter_topic: Where letters go; None if there is no such topic.
        settle_seconds: After which time a request that got no answer has been applied, or never is.
        slack_seconds: By how much clocks, and two logs about one thing, may disagree.
        plan: The rest, in words or JSON: for the reader, not for the judge.
    """

    seed: int
    topic: str
    keyed: bool
    replicas: int
    store: Store
    write_path: str
    exit_action: str
    dead_letter_topic: str | None
    settle_seconds: float
    slack_seconds: float = 0.1
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the topic of events or of that of dead letters, as a reader finds it.

    Readers see committed transactions only. `timestamp_ms` is the record's own; `appended` is when
    it was written, if that is something else (None: it is the same).
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    appended: float | None = None

    @property
    def at(self) -> float:
        """When it was written."""
        return self.timestamp_ms / 1000 if self.appended is None else self.appended


@dataclass(frozen=True, slots=True)
class MemberWrite:
    """One member in a request."""

    segment: str
    kind: str
    key: str
    action: Action


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as the simulator saw it.

    Attributes:
        sequence: Order of arrival, from 1, over all processes.
        life: Number of the process that sent it (`Life.number`).
        route: Name of the operation: `patch_segment`, `create_segment` and so on.
        path: Path as sent.
        arrived: When its head was read.
        applied: When it took effect; None if it never did.
        order: Its place among all requests that took effect, from 1; None likewise.
        late: Whether it took effect after the client had been let go, by a fault.
        status: Status of the answer; None if there was none.
        ended: When it was over for the client; None if it was not when the run ended.
        ending: `answered`, `reset`, `abandoned` or `open`.
        writes: The members it writes.
    """

    sequence: int
    life: int
    route: str
    path: str
    arrived: float
    applied: float | None
    order: int | None
    late: bool
    status: int | None
    ended: float | None
    ending: str
    writes: tuple[MemberWrite, ...] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """A member that is in a list of a segment at the end: `included` or `excluded`."""

    segment: str
    kind: str
    key: str
    side: str


@dataclass(frozen=True, slots=True)
class Deletion:
    """A segment that was deleted behind ldsync's back."""

    segment: str
    at: float


@dataclass(frozen=True, slots=True)
class StoreLoss:
    """Redis was emptied (`flush`) or restarted (`restart`)."""

    what: str
    at: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """A SIGSTOP and its SIGCONT; `until` is None if none came."""

    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a page of metrics."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True)
class Life:
    """One process, from its start to its end.

    Attributes:
        number: From 0, in order of starting; a replica that is started again is a new life.
        started: When it was started.
        ended: When it was gone; None if it still ran when everything was recorded.
        end: How it came to its end; None likewise. What is stopped when a run is over counts.
        asked: When the (first) signal was sent; None without one.
        exit_code: 128 + n if by signal n; None while it runs.
        tolerated: Exit codes that the plan provokes beside those that its end explains.
        freezes: When it stood still.
        scrape: The last page of metrics that was read; empty if there was none.
        scraped: When that was.
        peak_rss_bytes: The most memory it had; None if nobody looked.
        rss_limit_bytes: What it must stay under; None if nothing was laid down.
    """

    number: int
    started: float
    ended: float | None = None
    end: End | None = None
    asked: float | None = None
    exit_code: int | None = None
    tolerated: tuple[int, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    scrape: tuple[Sample, ...] = ()
    scraped: float | None = None
    peak_rss_bytes: int | None = None
    rss_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Quiet:
    """How the run came to rest: `at` is None if it did not in time; `why` says what was left."""

    at: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. Each tuple is in the order in which things happened, or stand in the log."""

    setting: Setting
    quiet: Quiet
    records: tuple[Record, ...] = ()
    letters: tuple[Record, ...] = ()
    commits: tuple[Commit, ...] = ()
    exchanges: tuple[Exchange, ...] = ()
    membership: tuple[Placed, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    store_losses: tuple[StoreLoss, ...] = ()
    lives: tuple[Life, ...] = ()


def samples_of(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> tuple[Sample, ...]:
    """Samples as `ldsync_process.Scrape` has them, as evidence."""
    return tuple(
        Sample(name, tuple(sorted(labels.items())), value) for name, labels, value in samples
    )
