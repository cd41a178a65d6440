"""What a seed means: the deployment, its settings, the history and the mischief of one run."""

import random
from dataclasses import dataclass, field, replace

from tests.chaos.evidence import Store
from tests.chaos.mischief import Step, Trouble, refusal, schedule

SECONDS = 22.0  # of mischief
SETTLE = 3.0
SESSION = 6.0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. The same seed gives the same plan.

    Attributes:
        seed: What it was made from.
        brokers: One, or two with copies of everything.
        replicas: Processes of ldsync.
        partitions: Of the topic, at first.
        more_partitions: How many it has in the end.
        keyed: Whether all events of a member are in one partition.
        disordered: Whether versions go up and down.
        store: Of versions.
        write_path: `standard` or `big`.
        exit_action: `remove` or `exclude`.
        batch_seconds: How long a batch is collected.
        batch_size: How many members it may have.
        tight: Whether the buffer is so small that consumption pauses.
        transactions: Whether part of the history is written in transactions, some of them aborted.
        compacted: Whether the topic is compacted, and has gaps.
        members: How many users there are.
        audiences: How many audiences.
        events: How many records.
        clean: Whether the group was left in order before the first start.
        steps: The mischief, by time.
        park_after: How long the changes of a segment that alone cannot be written wait before they
            are parked, in seconds; None for much longer than a run.
    """

    seed: int
    brokers: int
    replicas: int
    partitions: int
    more_partitions: int
    keyed: bool
    disordered: bool
    store: Store
    write_path: str
    exit_action: str
    batch_seconds: float
    batch_size: int
    tight: bool
    transactions: bool
    compacted: bool
    members: int
    audiences: int
    events: int
    clean: bool
    steps: tuple[Step, ...] = field(repr=False)
    park_after: float | None = None

    @property
    def combination(self) -> str:
        """The deployment in a few words."""
        words = [
            f"{self.brokers}b",
            f"{self.replicas}p",
            f"{self.partitions}part",
            "keyed" if self.keyed else "unkeyed",
            "disordered" if self.disordered else "ordered",
            self.store.value,
            self.write_path,
            self.exit_action,
        ]
        traits = {
            "tight": self.tight,
            "tx": self.transactions,
            "compacted": self.compacted,
            "parks": self.park_after is not None,
        }
        return " ".join(words + [word for word, has in traits.items() if has])


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(seed)
    brokers = rng.choice([1, 1, 2])
    replicas = rng.choice([1, 2, 2, 3])
    keyed = rng.random() < 0.5
    store = _store(rng, replicas, keyed=keyed)
    partitions = rng.choice([1, 2, 3, 4]) if replicas == 1 else rng.choice([2, 3, 4])
    more = partitions + (rng.choice([1, 2]) if rng.random() < 0.25 else 0)
    big = rng.random() < 0.25
    drawn = Plan(
        seed=seed,
        brokers=brokers,
        replicas=replicas,
        partitions=partitions,
        more_partitions=more,
        keyed=keyed,
        disordered=rng.random() < 0.75,
        store=store,
        write_path="big" if big else "standard",
        exit_action="exclude" if rng.random() < 0.3 else "remove",
        batch_seconds=rng.choice([0.2, 0.3, 0.5]),
        batch_size=rng.choice([20, 50, 200]),
        tight=rng.random() < 0.2,
        transactions=rng.random() < 0.3,
        compacted=rng.random() < 0.2,
        members=rng.choice([20, 60, 150]),
        audiences=rng.choice([2, 3, 5]),
        events=rng.choice([800, 1500, 3000]),
        clean=rng.random() < 0.5,
        steps=schedule(
            rng,
            seconds=SECONDS,
            replicas=replicas,
            brokers=brokers,
            redis=store is Store.REDIS,
            grows=more > partitions,
        ),
    )
    return _parking(drawn)


def _parking(drawn: Plan) -> Plan:
    """In one of four plans LaunchDarkly refuses one segment for so long that changes are parked.

    Drawn by itself: what the other plans are does not depend on it. Every rebalance begins the wait
    anew, so that only some of the other troubles are left.
    """
    rng = random.Random(f"parking {drawn.seed}")
    if rng.random() >= 0.25:
        return drawn
    others = [step for step in drawn.steps if step.trouble is not Trouble.ADD_PARTITIONS]
    grows = [step for step in drawn.steps if step.trouble is Trouble.ADD_PARTITIONS]
    steps = (*rng.sample(others, min(len(others), 4)), *grows, refusal(rng, SECONDS))
    return replace(
        drawn,
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        park_after=rng.choice([0.5, 1.5]),
    )


def _store(rng: random.Random, replicas: int, *, keyed: bool) -> Store:
    """Mostly one that keeps P2 (docs/ordering.md); now and then one that does not, for the rest."""
    redis = {True: 0.35, False: 0.85}[keyed or replicas == 1]
    return Store.REDIS if rng.random() < redis else Store.MEMORY
