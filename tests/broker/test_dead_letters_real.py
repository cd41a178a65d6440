"""Dead letters on real Apache Kafka: topics, rights, limits, and brokers that go away."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ldsync.checks.finding import State
from ldsync.checks.kafka import check_dead_letters
from ldsync.config import KafkaSettings, Settings
from ldsync.kafka.errors import SourceMisconfigured, SourceUnavailable
from tests.support.real_kafka import RealKafka
from tests.support.worker_rig import Hand, Rig, events_of, rigged

pytestmark = pytest.mark.broker

SLOW = 40.0
PASSWORD = "correct horse battery staple"
USERS = [f"user-{number}" for number in range(6)]
"""One a test: rights that one test needs would change what another one sees."""


@pytest.fixture
async def rig(real_kafka: RealKafka) -> AsyncIterator[Rig]:
    """A topic of one partition, without a topic for its dead letters."""
    async with rigged(real_kafka, dead_letters=False) as rig:
        yield rig


async def test_a_missing_topic_is_made_as_the_brokers_would(
    rig: Rig, real_kafka: RealKafka
) -> None:
    """One for each topic; letters without a key must be able to stay, so it is not compacted."""
    with capture_logs() as logs:
        rig.work()
        await rig.write(b"{", b"[", key=b"k")
        await rig.until_committed(2)
    assert [letter.value for letter in await rig.letters()] == [b"{", b"["]
    assert [line["topic"] for line in events_of(logs, "dead_letters.topic_created")] == [
        rig.dead_letters
    ]
    config = await asyncio.to_thread(real_kafka.admin.topic_config, rig.dead_letters)
    assert config["cleanup.policy"] == "delete"
    assert await asyncio.to_thread(real_kafka.admin.partitions, rig.dead_letters) == [0]


async def test_the_settings_say_how_a_topic_is_made(rig: Rig, real_kafka: RealKafka) -> None:
    """One topic for everything, of three partitions; letters with one key share one of them."""
    topic = f"{rig.topic}-kept"
    hand = rig.work(dead_letters={"topic": topic, "partitions": 3, "replication_factor": 1})
    await hand.until_assigned()
    assert await asyncio.to_thread(real_kafka.admin.partitions, topic) == [0, 1, 2]
    await rig.write(*[b"%d," % number for number in range(20)], key=b"k")
    await rig.until_committed(20)
    found = await asyncio.to_thread(real_kafka.admin.read, topic)
    assert [letter.value() for letter in found] == [b"%d," % number for number in range(20)]
    assert len({letter.partition() for letter in found}) == 1


async def test_more_replicas_than_brokers_are_waited_for_and_told_in_kafkas_own_words(
    rig: Rig,
) -> None:
    """It is what brokers say as well while one of them is away: the configuration may be right."""
    hand = rig.work(kafka={"start_timeout_seconds": 1.0}, dead_letters={"replication_factor": 7})
    with pytest.raises(SourceUnavailable, match=r"replica.*dead_letters\.replication_factor.*1 s"):
        async with asyncio.timeout(SLOW):
            await hand.task


async def test_every_topic_of_a_pattern_has_a_topic_for_its_dead_letters(
    rig: Rig, real_kafka: RealKafka
) -> None:
    """They are made at the start, and the pattern does not match them."""
    other = f"{rig.topic}-more"
    await asyncio.to_thread(real_kafka.create_topic, other)
    hand = rig.work(kafka={"topics": (), "topic_pattern": f"{rig.topic}.*"})
    await hand.until_assigned(2)
    await asyncio.to_thread(real_kafka.admin.produce, other, [(None, b"{")])
    await rig.write(b"[")
    await hand.until(lambda: hand.parts.dead_letters.written == 2, "both are kept")
    for topic, value in ((other, b"{"), (rig.topic, b"[")):
        (letter,) = await asyncio.to_thread(real_kafka.admin.read, f"{topic}.dead-letters")
        assert letter.value() == value
    assert hand.outcomes == {"invalid": 2}


async def test_what_the_topic_does_not_take_is_sent_smaller(
    rig: Rig, real_kafka: RealKafka
) -> None:
    """A batch is divided; a letter that is too large alone becomes a pointer. All are kept."""
    limits = {"max.message.bytes": "20000"}
    await asyncio.to_thread(real_kafka.create_topic, rig.dead_letters, 1, limits)
    rng = random.Random(1)
    small = [b"{" + rng.randbytes(200) for _ in range(600)]
    large = [b"{" + rng.randbytes(50_000) for _ in range(3)]
    values = [*small[:300], *large, *small[300:]]
    hand = rig.work(dead_letters={"timeout_seconds": 30.0})
    await rig.write(*values)
    await rig.until_committed(603, limit=SLOW)
    letters = {dict(each.headers)["ldsync-offset"]: each for each in await rig.letters()}
    assert len(letters) == 603
    for offset, value in enumerate(values):
        letter = letters[b"%d" % offset]
        pointed = dict(letter.headers)["ldsync-value"] == b"pointer"
        assert pointed is (value in large)
        assert pointed or letter.value == value
    assert hand.metric("ldsync_dead_letter_failures_total") == 0


async def test_a_topic_that_does_not_even_take_a_pointer_holds_the_commit(
    rig: Rig, real_kafka: RealKafka
) -> None:
    """It is tried again, but not in a hurry, and the reason is shown."""
    limits = {"max.message.bytes": "100"}
    await asyncio.to_thread(real_kafka.create_topic, rig.dead_letters, 1, limits)
    hand = rig.work()
    await rig.write(b"{")
    failures = "ldsync_dead_letter_failures_total"
    await hand.until(lambda: hand.metric(failures) >= 2, "it is tried again")
    assert hand.metric(failures) < 5
    assert "MessageSizeTooLarge" in hand.report.status()["dead_letters"]["problem"]
    assert (await rig.committed()).get(0, 0) == 0


async def test_a_topic_that_is_deleted_is_made_again(rig: Rig, real_kafka: RealKafka) -> None:
    """What could not be written to it meanwhile is written then."""
    hand = rig.work(dead_letters={"timeout_seconds": 1.0})
    await hand.until_assigned()
    await asyncio.to_thread(real_kafka.admin.delete_topic, rig.dead_letters)
    await rig.write(b"{")
    await rig.until_committed(1, limit=SLOW)
    assert {letter.value for letter in await rig.letters()} == {b"{"}


# --- brokers that go away ------------------------------------------------------------------------


@pytest.fixture
def own_kafka(kafka_directory: Path) -> Iterator[RealKafka]:
    """A broker that the test may stop."""
    kafka = RealKafka(kafka_directory / f"letters-{random.randrange(10**9)}")
    kafka.start()
    yield kafka
    kafka.stop()


async def test_a_broker_that_dies_in_the_middle_loses_no_letter(own_kafka: RealKafka) -> None:
    """Twice; the committed offset is never ahead of what is kept, and in the end all of it is."""
    async with rigged(own_kafka) as rig:
        hand = rig.work(
            dead_letters={"timeout_seconds": 2.0},
            kafka={"max_poll_records": 200, "session_timeout_seconds": 10.0},
        )
        values = [b"%05d," % number for number in range(20_000)]
        for first in range(0, 20_000, 2000):
            await rig.write(*values[first : first + 2000])
            if first in (4000, 12_000):
                await hand.until(lambda: hand.parts.dead_letters.written > 0, "some are kept")
                await asyncio.to_thread(own_kafka.kill)
                await asyncio.to_thread(own_kafka.start)
        await rig.until_committed(20_000, limit=90.0)
        kept = {letter.value for letter in await rig.letters()}
        assert kept == set(values)
        assert hand.parts.dead_letters.empty


# --- rights --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(kafka_directory: Path) -> Iterator[RealKafka]:
    """A broker on which users may do only what they were allowed to."""
    kafka = RealKafka(
        kafka_directory / "guarded",
        plain_users=dict.fromkeys(USERS, PASSWORD),
        config={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()


@pytest.fixture
async def limited(guarded: RealKafka) -> AsyncIterator[Rig]:
    """A topic without a topic for dead letters; nobody may do anything yet."""
    async with rigged(guarded, dead_letters=False) as rig:
        yield rig


def login(guarded: RealKafka, user: str) -> dict[str, Any]:
    """How a user logs in."""
    return {
        "bootstrap_servers": guarded.sasl_bootstrap_servers,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": user,
        "sasl_password": SecretStr(PASSWORD),
    }


async def allow(guarded: RealKafka, user: str, topic: str, *rights: str) -> None:
    """Let a user do something with a topic."""
    for right in rights:
        await asyncio.to_thread(guarded.admin.allow, user, right, "TOPIC", topic)


async def work(rig: Rig, guarded: RealKafka, user: str) -> Hand:
    """A worker that logs in as a user who may read the topic."""
    await allow(guarded, user, rig.topic, "READ", "DESCRIBE")
    await asyncio.to_thread(guarded.admin.allow, user, "READ", "GROUP", rig.group)
    return rig.work(dead_letters={"timeout_seconds": 1.0}, kafka=login(guarded, user))


@pytest.mark.parametrize(
    ("user", "rights", "exists", "message"),
    [
        pytest.param(USERS[0], (), True, "grant Describe, Write and Read on it", id="nothing"),
        pytest.param(USERS[1], ("DESCRIBE",), False, "grant Create on it", id="no creating"),
        pytest.param(USERS[2], ("DESCRIBE",), True, "grant Write on", id="no writing"),
    ],
)
async def test_missing_rights_end_the_start_and_are_named(
    limited: Rig,
    guarded: RealKafka,
    user: str,
    rights: tuple[str, ...],
    exists: bool,
    message: str,
) -> None:
    """At once: waiting would not help, and nothing has been consumed."""
    if exists:
        await asyncio.to_thread(guarded.create_topic, limited.dead_letters)
    await allow(guarded, user, limited.dead_letters, *rights)
    hand = await work(limited, guarded, user)
    with pytest.raises(SourceMisconfigured, match=message):
        async with asyncio.timeout(SLOW):
            await hand.task


async def test_a_right_that_is_missing_at_run_time_holds_the_commit(
    limited: Rig, guarded: RealKafka
) -> None:
    """It was there at the start; the reason is logged and shown, and granting it again ends it."""
    user = USERS[3]
    await asyncio.to_thread(guarded.create_topic, limited.dead_letters)
    await allow(guarded, user, limited.dead_letters, "DESCRIBE", "WRITE")
    await allow(guarded, user, limited.topic, "WRITE")
    hand = await work(limited, guarded, user)
    await hand.until_assigned(1)
    await asyncio.to_thread(guarded.admin.disallow, user, "WRITE", "TOPIC", limited.dead_letters)
    await limited.write(b"{")
    await hand.until(lambda: hand.metric("ldsync_dead_letter_failures_total") >= 1, "it fails")
    problem = hand.report.status()["dead_letters"]["problem"]
    assert f"write to {limited.dead_letters}: grant Write" in problem
    assert (await limited.committed()).get(0, 0) == 0
    await allow(guarded, user, limited.dead_letters, "WRITE")
    await limited.until_committed(1)
    assert {letter.value for letter in await limited.letters()} == {b"{"}


async def test_letters_that_may_not_be_read_are_told_and_hold_up_nothing(
    limited: Rig, guarded: RealKafka
) -> None:
    """What was parked before is not known then; granting Read ends it."""
    user = USERS[5]
    await asyncio.to_thread(guarded.create_topic, limited.dead_letters)
    await allow(guarded, user, limited.dead_letters, "DESCRIBE", "WRITE")
    with capture_logs() as logs:
        await limited.write_letter(b"old", [])
        hand = await work(limited, guarded, user)
        await hand.until(lambda: events_of(logs, "dead_letters.unreadable"), "it is told")
        assert "Read" in events_of(logs, "dead_letters.unreadable")[0]["advice"]
        assert "Authorization" in hand.report.status()["dead_letters"]["recall_problem"]
        await limited.enter("a")
        await limited.until_committed(1)
        await allow(guarded, user, limited.dead_letters, "READ")
        await hand.until(lambda: events_of(logs, "dead_letters.recalled"), "they are read")
    assert hand.report.status()["dead_letters"]["recall_problem"] == ""


async def test_the_check_knows_whether_letters_may_be_written(
    limited: Rig, guarded: RealKafka
) -> None:
    """From the broker's word, and without writing anything."""
    admin, topic, user = guarded.admin, limited.dead_letters, USERS[4]
    await allow(guarded, user, limited.topic, "READ", "DESCRIBE")
    await asyncio.to_thread(guarded.create_topic, topic)
    await allow(guarded, user, topic, "DESCRIBE")
    kafka = KafkaSettings(topics=(limited.topic,), **login(guarded, user))
    settings = Settings(kafka=kafka)
    (refused,) = await check_dead_letters(settings)
    assert refused.state is State.FAILED
    assert refused.detail == f"Kafka does not allow this user to write to {topic}"
    await allow(guarded, user, topic, "WRITE")
    allowed, unread = await check_dead_letters(settings)
    assert (allowed.state, allowed.detail) == (State.OK, "their topics exist and may be written")
    assert unread.state is State.WARNING
    assert f"read {topic}" in unread.detail
    assert "Grant Read" in unread.advice
    await allow(guarded, user, topic, "READ")
    _, read = await check_dead_letters(settings)
    assert (read.name, read.state) == ("replays", State.OK)
    assert await asyncio.to_thread(admin.end_offsets, topic) == {0: 0}
