"""What may befall a deployment, and the schedule of it; `troubles` says how it is done."""

import random
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What may befall a deployment."""

    KILL = "kill"  # a process: SIGKILL, and started again
    TERM = "term"  # SIGTERM, and started again when it is gone
    HURRY = "hurry"  # the same, with a second signal soon after
    ZOMBIE = "zombie"  # SIGSTOP for longer than the session lasts
    FREEZE = "freeze"  # SIGSTOP for less
    KILL_ALL = "kill_all"  # every process at once
    BROKER_KILL = "broker_kill"
    BROKER_STOP = "broker_stop"
    LEADER_MOVE = "leader_move"  # to the other broker, and back
    REDIS_RESTART = "redis_restart"
    REDIS_FLUSH = "redis_flush"
    REDIS_FREEZE = "redis_freeze"
    LATE = "late"  # requests take effect after the client was let go, within the settle time
    LOST_REPLY = "lost_reply"  # they take effect, and the client never learns it
    HANG = "hang"  # neither
    CUT_LAUNCHDARKLY = "cut_launchdarkly"  # the cable of one process
    CUT_KAFKA = "cut_kafka"
    SLOW = "slow"  # requests take effect late, or are answered late, but in time for the client
    LETTERS_REFUSED = "letters_refused"  # the brokers take no dead letters
    STORM = "storm"  # 429 for everything
    ERRORS = "errors"  # 5xx
    APPROVALS = "approvals"  # are required for a while
    TOKEN = "token"  # is not accepted for a while
    POISON = "poison"  # a member whom LaunchDarkly refuses for a while
    REFUSE_SEGMENT = "refuse_segment"  # writes to one segment are refused for a while
    DELETE_SEGMENT = "delete_segment"
    ADD_PARTITIONS = "add_partitions"


@dataclass(frozen=True, slots=True)
class Step:
    """One trouble of a schedule.

    Attributes:
        at: Seconds after the beginning of the mischief.
        trouble: What.
        target: Slot of a process, place of a broker, number of an audience or user; else 0.
        seconds: How long it lasts, where it lasts.
        how: In which of two ways, where there are two.
    """

    at: float
    trouble: Trouble
    target: int = 0
    seconds: float = 0.0
    how: bool = False

    def __str__(self) -> str:
        return f"{self.at:.1f}:{self.trouble.value}({self.target},{self.seconds:.1f},{self.how:d})"


# How long each lasts, from and to; those that are over at once are not here.
_SECONDS: dict[Trouble, tuple[float, float]] = {
    Trouble.ZOMBIE: (8.0, 10.0),
    Trouble.HURRY: (0.0, 1.0),
    Trouble.FREEZE: (0.5, 4.0),
    Trouble.BROKER_KILL: (0.0, 2.0),
    Trouble.BROKER_STOP: (0.0, 2.0),
    Trouble.LEADER_MOVE: (0.5, 2.0),
    Trouble.REDIS_FREEZE: (0.5, 4.0),
    Trouble.LATE: (1.0, 5.0),
    Trouble.LOST_REPLY: (1.0, 4.0),
    Trouble.HANG: (1.0, 5.0),
    Trouble.CUT_LAUNCHDARKLY: (0.5, 5.0),
    Trouble.CUT_KAFKA: (0.5, 9.0),
    Trouble.SLOW: (2.0, 8.0),
    Trouble.STORM: (1.0, 4.0),
    Trouble.ERRORS: (1.0, 4.0),
    Trouble.APPROVALS: (1.0, 4.0),
    Trouble.TOKEN: (1.0, 4.0),
    Trouble.POISON: (2.0, 8.0),
}
_OF_REDIS = (Trouble.REDIS_RESTART, Trouble.REDIS_FLUSH, Trouble.REDIS_FREEZE)
_OF_PROCESSES = (
    Trouble.KILL,
    Trouble.TERM,
    Trouble.HURRY,
    Trouble.ZOMBIE,
    Trouble.FREEZE,
    Trouble.CUT_LAUNCHDARKLY,
    Trouble.CUT_KAFKA,
)
_COSTLY = (Trouble.BROKER_KILL, Trouble.BROKER_STOP, Trouble.LEADER_MOVE)  # a start of Java each
_LAST = 0.85  # of the time; what begins later would meet with nothing


def schedule(
    rng: random.Random, *, seconds: float, replicas: int, brokers: int, redis: bool, grows: bool
) -> tuple[Step, ...]:
    """Five to eleven troubles in `seconds`, in the order of their beginnings."""
    # Letters are refused for `mutations` only: another trouble would change what every seed means.
    elsewhere = {
        *_OF_REDIS,
        *_COSTLY,
        Trouble.ADD_PARTITIONS,
        Trouble.REFUSE_SEGMENT,  # see `refusal`
        Trouble.LETTERS_REFUSED,
    }
    usual = [each for each in Trouble if each not in elsewhere]
    chosen = rng.choices(usual, k=rng.randint(5, 9))
    if redis and rng.random() < 0.6:
        chosen.append(rng.choice(_OF_REDIS))
    if rng.random() < 0.35:
        chosen.append(rng.choice(_COSTLY[:2] if brokers == 1 else [*_COSTLY, Trouble.LEADER_MOVE]))
    steps = [_step(rng, each, seconds, replicas, brokers) for each in chosen]
    if grows:
        # A group learns of new partitions within a minute, or with its next rebalance.
        steps.append(Step(rng.uniform(0.2, 0.5) * seconds, Trouble.ADD_PARTITIONS))
        steps.append(Step(rng.uniform(0.6, 0.8) * seconds, Trouble.TERM))
    return tuple(sorted(steps, key=lambda step: step.at))


def refusal(rng: random.Random, seconds: float) -> Step:
    """One segment is refused for long enough, of a time of `seconds`, to be parked."""
    at = rng.uniform(0.05, 0.5) * seconds
    lasts = rng.uniform(8.0, 14.0)
    return Step(
        round(at, 2),
        Trouble.REFUSE_SEGMENT,
        rng.randrange(2),
        round(lasts, 2),
        how=rng.random() < 0.5,
    )


def _step(
    rng: random.Random, trouble: Trouble, seconds: float, replicas: int, brokers: int
) -> Step:
    target = 0
    if trouble in _OF_PROCESSES:
        target = rng.randrange(replicas)
    elif trouble in _COSTLY:
        target = rng.randrange(brokers)
    elif trouble is Trouble.DELETE_SEGMENT:
        target = rng.randrange(2)
    elif trouble is Trouble.POISON:
        target = rng.randrange(20)
    lasts = rng.uniform(*_SECONDS[trouble]) if trouble in _SECONDS else 0.0
    at = rng.uniform(0.1, _LAST) * seconds
    return Step(round(at, 2), trouble, target, round(lasts, 2), rng.random() < 0.5)
