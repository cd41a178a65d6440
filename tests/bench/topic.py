"""The load: Engage events and ordinary calls of realistic size, made once per run of the bench."""

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

AUDIENCE_KEY = "frequent_buyers_%04d"
"""What audiences are called, by number."""

# What a website sends without end, as Segment documents it: some 700 bytes.
_ORDINARY = (
    '{"type":"%s","event":"Product Viewed","name":"Home","messageId":"ajs-next-%013d-%s",'
    '"userId":"%s","anonymousId":"507f191e-810c-4972-9de8-60ea%s","channel":"browser",'
    '"timestamp":"%sZ","originalTimestamp":"%sZ","sentAt":"%sZ","receivedAt":"%sZ",'
    '"context":{"ip":"203.0.113.7","locale":"en-GB","library":{"name":"analytics.js",'
    '"version":"next-1.70.0"},"page":{"path":"/products/17","referrer":"https://www.example.com/",'
    '"title":"A product","url":"https://www.example.com/products/17"},'
    '"userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"},'
    '"integrations":{},"properties":{"product_id":"p_17","price":39.95,"currency":"USD"},'
    '"traits":{"plan":"premium","first_time_shopper":true}}'
)


def ordinary_calls(count: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of calls that are not from Engage: half identify and track, half page."""
    for number in range(count):
        kind = ("identify", "page", "track", "page")[number % 4]
        user = f"user_{number % 200_000:06d}"
        minute, second, millisecond = number // 60_000 % 60, number // 1000 % 60, number % 1000
        stamp = f"2026-03-04T10:{minute:02d}:{second:02d}.{millisecond:03d}"
        value = _ORDINARY % (kind, number, user, user, user, *([stamp] * 4))
        yield user.encode(), value.encode()


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
            key = AUDIENCE_KEY % audience
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
