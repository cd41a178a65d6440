"""The load: Engage events of realistic size, written once per run of the bench."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

# The documented shape with its nanosecond digits, library, integrations and an enriched trait: some
# 735 bytes. Written out, because encoding a million takes longer than reading them.
_HEAD = (
    '{"type":"%s",%s"messageId":"personas_%027d","userId":"%s","timestamp":"%s",'
    '"originalTimestamp":"%s456789Z","receivedAt":"%s","context":'
    '{"integrations":{"personas":false},"library":{"name":"unknown","version":"unknown"},'
    '"__segment_internal":{"creator":"sync-worker"},"personas":{"computation_class":"audience",'
    '"computation_id":"aud_2zJkeVoLkrirhXup2uAPEsD%04d","computation_key":"%s",'
    '"namespace":"spa_9vACn44CYGDZNPNWDUXtMJ","space_id":"spa_9vACn44CYGDZNPNWDUXtMJ"}},'
    '"integrations":{"All":false,"Kafka":true},'
)
_IDENTIFY = _HEAD + '"traits":{"email":"%s@example.com","%s":%s}}'
_TRACK = _HEAD + '"properties":{"email":"%s@example.com","audience_key":"%s","%s":%s}}'


def events(count: int, *, audiences: int, members: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each event: half identify, half track, of random members, 1 ms apart."""
    rng = random.Random(1)
    start = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    for second in range(count // 1000 + 1):
        moment = (start + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.")
        received = (start + timedelta(seconds=second + 11)).strftime("%Y-%m-%dT%H:%M:%S.")
        for millisecond in range(min(1000, count - second * 1000)):
            number = second * 1000 + millisecond
            user = f"user_{rng.randrange(members):06d}"
            audience = rng.randrange(audiences)
            key = f"frequent_buyers_{audience:04d}"
            entered = "true" if rng.random() < 0.5 else "false"
            stamp = f"{moment}{millisecond:03d}"
            times = (f"{stamp}Z", stamp, f"{received}{millisecond:03d}Z")
            if number % 2:
                value = _IDENTIFY % (
                    *("identify", "", number, user, *times, audience, key),
                    *(user, key, entered),
                )
            else:
                value = _TRACK % (
                    *("track", '"event":"Audience Entered",', number, user, *times, audience, key),
                    *(user, key, key, entered),
                )
            yield user.encode(), value.encode()
