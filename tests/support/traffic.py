"""Engage events for tests on a topic keyed by user: made here, so that a verdict shares no code.

In order per member: the versions of one member rise with the offsets. (Disorder across a take-over
is what warm-up is for; disorder within one process life is judged by `ldsync demo`.)
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

SECRET_EMAIL = "never.to.be.logged@example.com"  # stands in every event; a log must not have it
Record = tuple[bytes, bytes]


def engage_event(
    user: str, audience: str, entered: bool, moment: datetime, *, call: str = "identify"
) -> dict[str, object]:
    """One membership change as Engage tells it by an identify or a track call."""
    place = "traits" if call == "identify" else "properties"
    return {
        "type": call,
        "messageId": f"personas_{user}_{audience}_{moment.timestamp():.3f}",
        "userId": user,
        "timestamp": _iso(moment),
        "receivedAt": _iso(moment + timedelta(seconds=11)),
        "sentAt": None,
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_id": f"aud_{audience}",
                "computation_key": audience,
                "namespace": "spa_9vACn44CYGDZNPNWDUXtMJ",
                "space_id": "spa_9vACn44CYGDZNPNWDUXtMJ",
            },
            "traits": {"email": SECRET_EMAIL},
        },
        "integrations": {"All": False, "Kafka": True},
        place: {"email": SECRET_EMAIL, audience: entered},
    }


def entering(users: int, audience: str, moment: datetime | None = None) -> Iterator[Record]:
    """(key, value) of one record per user: each enters the audience."""
    moment = moment or datetime.now(UTC) - timedelta(hours=1)
    for number in range(users):
        yield keyed(engage_event(f"user-{number:06}", audience, True, moment))


def back_and_forth(events: int, *, users: int, audiences: int, seed: int = 0) -> Iterator[Record]:
    """(key, value) of records in which random users enter and leave random audiences.

    Nine changes of a member in ten are the other way from the one before, so that a write of one
    rarely passes for a write of another. One record in fifty is no change: an ordinary call, a
    computed trait, broken JSON.
    """
    rng = random.Random(seed)
    inside: dict[tuple[int, int], bool] = {}
    start = datetime.now(UTC) - timedelta(hours=1)
    for number in range(events):
        user, audience = rng.randrange(users), rng.randrange(audiences)
        moment = start + timedelta(milliseconds=number)
        if number % 50 == 49:
            yield _no_change(f"user-{user:06}", number, moment)
            continue
        entered = inside.get((user, audience), False) is not (rng.random() < 0.9)
        inside[user, audience] = entered
        call = "identify" if number % 2 else "track"
        yield keyed(
            engage_event(f"user-{user:06}", f"audience_{audience:02}", entered, moment, call=call)
        )


def keyed(event: dict[str, object]) -> Record:
    """An event as a record keyed by its user."""
    return str(event["userId"]).encode(), json.dumps(event, separators=(",", ":")).encode()


def _no_change(user: str, number: int, moment: datetime) -> Record:
    event = engage_event(user, "audience_00", True, moment)
    if number % 3 == 0:
        return user.encode(), b'{"type": "identify", '
    if number % 3 == 1:
        del event["context"]
    else:
        event["context"]["personas"]["computation_class"] = "trait"  # type: ignore[index]
    return keyed(event)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
