"""Invalid records are kept: in a topic of their own, byte for byte, before their offset moves."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import ConsumerRecord
from structlog.testing import capture_logs

from ldsync.demo.broker import Api, EmbeddedBroker
from ldsync.kafka import dead_letters
from ldsync.kafka.errors import SourceFailed, SourceMisconfigured, SourceUnavailable
from ldsync.sync.states import State
from tests.support.worker_rig import LIMIT, Hand, Rig, events_of, people, rigged

NOT_ENOUGH_REPLICAS, TOPIC_DENIED, TOO_LARGE, CLUSTER_DENIED, REBALANCING = 19, 29, 10, 31, 27
REFUSED = [NOT_ENOUGH_REPLICAS] * 100_000


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """A cluster of one broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
async def rig(broker: EmbeddedBroker) -> AsyncIterator[Rig]:
    """A topic of one partition, and one for its dead letters."""
    async with rigged(broker) as rig:
        yield rig


def headers_of(letter: ConsumerRecord) -> dict[str, str]:
    """The headers of a letter, as text."""
    return {name: content.decode() for name, content in letter.headers}


async def test_an_invalid_record_is_kept_as_it_is_and_says_where_it_is_from(rig: Rig) -> None:
    """Key and value are the bytes that came; the headers name place, time, reason and trace."""
    hand = rig.work()
    before = int(time.time() * 1000)
    await rig.write(b"\xff{", key=b"\x00k", headers=[("traceparent", b"00-1-2-01"), ("x", b"y")])
    await rig.enter("a")
    await rig.until_committed(2)
    (letter,) = await rig.letters()
    assert (letter.key, letter.value) == (b"\x00k", b"\xff{")
    headers = headers_of(letter)
    assert before <= int(headers.pop("ldsync-timestamp")) <= int(time.time() * 1000)
    assert "line 1 column 1" in headers.pop("ldsync-detail")
    assert headers == {
        "ldsync-format": "1",
        "ldsync-group": rig.group,
        "ldsync-value": "original",
        "ldsync-topic": rig.topic,
        "ldsync-partition": "0",
        "ldsync-offset": "0",
        "ldsync-reason": "bad_json",
        "traceparent": "00-1-2-01",
    }
    assert hand.metric("ldsync_dead_letters_total", reason="bad_json") == 1
    assert hand.metric("ldsync_dead_letters_pending") == 0
    assert rig.sim.included("vip") == {"a"}


async def test_a_record_with_an_invalid_part_is_kept_whole_and_once(rig: Rig) -> None:
    """Its changes are delivered all the same; the reason is that of its worst part."""
    hand = rig.work()
    record = b"[" + rig.event("a") + b", 5, {}, " + rig.event("b") + b"]"
    await rig.write(record, b"[" + rig.event("c") + b"]", b'{"type": "page"}', None)
    await rig.until_committed(4)
    (letter,) = await rig.letters()
    assert letter.value == record
    assert headers_of(letter)["ldsync-reason"] == "not_an_object"
    assert "ldsync-detail" not in headers_of(letter)
    assert rig.sim.included("vip") == {"a", "b", "c"}
    assert hand.parts.dead_letters.written == 1


async def test_the_commit_never_passes_a_letter_without_acknowledgement(rig: Rig) -> None:
    """P1: what comes after it is delivered, but nothing behind it is committed until it is safe."""
    await rig.write(rig.event("a"), b"{", rig.event("b"))
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    with capture_logs() as logs:
        hand = rig.work(dead_letters={"timeout_seconds": 0.5})
        await hand.until(lambda: rig.sim.included("vip") == {"a", "b"}, "the other is delivered")
        failures = "ldsync_dead_letter_failures_total"
        await hand.until(lambda: hand.metric(failures) >= 2, "it was tried again")
        assert (await rig.committed()).get(0, 0) == 0
        assert hand.metric("ldsync_dead_letters_pending") == 1
        assert "no acknowledgement" in hand.report.status()["dead_letters"]["problem"]
        assert hand.report.health().ready
        rig.broker.clear_failures(Api.PRODUCE)
        await rig.until_committed(3)
    assert {letter.value for letter in await rig.letters()} == {b"{"}
    assert len(events_of(logs, "dead_letters.unwritable")) == 1
    assert len(events_of(logs, "dead_letters.writable")) == 1
    assert hand.report.status()["dead_letters"]["problem"] == ""


async def test_consumption_pauses_while_too_much_waits_to_be_kept(rig: Rig) -> None:
    """P3: memory is bounded by the setting and one poll; polling goes on, and then so does all."""
    values = [b"%06d," % number for number in range(1000)]
    for first in range(0, 1000, 100):
        await rig.write(*values[first : first + 100])
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    with capture_logs() as logs:
        hand = rig.work(
            dead_letters={"timeout_seconds": 0.5, "max_pending_bytes": 100_000},
            kafka={"max_poll_records": 50},
        )
        await hand.until(lambda: hand.worker.state is State.PAUSED, "consumption is paused")
    (line,) = events_of(logs, "consumption.paused")
    assert "dead letters" in line["advice"]
    await hand.until(lambda: hand.metric("ldsync_dead_letter_failures_total") >= 2, "more tries")
    assert hand.parts.dead_letters.pending_bytes < 100_000 + 50 * 600
    assert hand.states[-1] == "paused"
    rig.broker.clear_failures(Api.PRODUCE)
    await rig.until_committed(1000)
    assert {letter.value for letter in await rig.letters()} == set(values)
    await hand.until(lambda: hand.states[-1] == "running", "consumption goes on")


async def test_a_drain_waits_for_letters(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken in is kept and committed before the process ends."""
    monkeypatch.setattr(dead_letters, "HELD_SECONDS", LIMIT)
    hand = rig.work(dead_letters={"max_invalid_ratio": 0.99, "min_records": 10_000})
    await rig.write(*[b"{"] * 100)
    await hand.until_consumed(100)
    assert await rig.letters() == []  # too little was seen to judge the topic
    await hand.stop()
    assert len(await rig.letters()) == 100
    assert await rig.committed() == {0: 100}


async def test_a_drain_whose_letters_cannot_be_written_ends_in_time(rig: Rig) -> None:
    """They are consumed again: nothing behind them was committed."""
    await rig.write(rig.event("a"), b"{")
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    hand = rig.work(drain=0.5, dead_letters={"timeout_seconds": 0.3})
    await hand.until(lambda: hand.parts.dead_letters.pending >= 1, "a letter waits")
    started = time.monotonic()
    with capture_logs() as logs:
        await hand.stop()
    assert time.monotonic() - started < 6.0
    assert events_of(logs, "drain.incomplete")
    assert (await rig.committed()).get(0, 0) == 0
    rig.broker.clear_failures(Api.PRODUCE)
    second = rig.work()
    await rig.until_committed(2)
    assert {letter.value for letter in await rig.letters()} == {b"{"}
    assert second.parts.dead_letters.written == 1


async def test_a_revoked_partition_takes_its_letters_along(rig: Rig) -> None:
    """P6: what waits is forgotten without being settled, and comes again with the assignment."""
    await rig.write(b"{", b"[")
    rig.broker.fail(Api.PRODUCE, *REFUSED)
    hand = rig.work(drain=0.3, dead_letters={"timeout_seconds": 0.3})
    await hand.until(lambda: hand.parts.dead_letters.pending >= 2, "letters wait")
    rig.broker.fail(Api.HEARTBEAT, REBALANCING)
    await hand.until(lambda: hand.parts.journal.consumed >= 4, "they were consumed again")
    assert (await rig.committed()).get(0, 0) == 0
    rig.broker.clear_failures(Api.PRODUCE)
    await rig.until_committed(2)
    assert {letter.value for letter in await rig.letters()} == {b"{", b"["}
    await hand.until(lambda: hand.parts.dead_letters.empty, "nothing of either epoch waits")
    assert hand.parts.dead_letters.pending_bytes == 0


async def test_letters_survive_brokers_that_go_away(rig: Rig) -> None:
    """A new producer is made; each letter arrives once at least."""
    hand = rig.work(dead_letters={"timeout_seconds": 0.5})
    await rig.write(b"1,")
    await rig.until_committed(1)
    await rig.write(*[b"%d," % number for number in range(2, 50)])
    rig.broker.take_down()
    await asyncio.sleep(1.0)  # the outage itself
    rig.broker.bring_up()
    await rig.until_committed(49)
    assert {letter.value for letter in await rig.letters()} == {
        b"%d," % number for number in range(1, 50)
    }
    assert not hand.task.done()


async def test_too_many_invalid_records_end_the_worker_and_copy_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong topic: the letters of its first records were held back until it could be judged."""
    monkeypatch.setattr(dead_letters, "HELD_SECONDS", LIMIT)
    await rig.write(*[b"no json"] * 60, *[rig.event(name) for name in people(40)])
    hand = rig.work(
        dead_letters={"max_invalid_ratio": 0.5, "min_records": 100}, kafka={"max_poll_records": 10}
    )
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(LIMIT):
            await hand.task
    (error,) = caught.value.exceptions
    assert isinstance(error, SourceFailed)
    assert "60 of 100" in str(error)
    assert "dead_letters.max_invalid_ratio" in str(error)
    assert await rig.letters() == []
    assert (await rig.committed()).get(0, 0) == 0


async def test_half_of_a_topic_may_be_invalid(rig: Rig) -> None:
    """The ratio has to be exceeded."""
    await rig.write(*[b"no json"] * 50, *[rig.event(name) for name in people(50)])
    rig.work(dead_letters={"max_invalid_ratio": 0.5, "min_records": 100})
    await rig.until_committed(100)
    assert len(await rig.letters()) == 50


async def test_without_dead_letters_invalid_records_are_counted_and_passed_over(rig: Rig) -> None:
    """`dead_letters.enabled = false` needs no topic and stops at no ratio."""
    hand = rig.work(
        dead_letters={"enabled": False, "max_invalid_ratio": 0.1, "min_records": 1, "topic": "gone"}
    )
    await rig.write(b"{", b"[", b"5")
    await rig.until_committed(3)
    assert hand.outcomes == {"invalid": 3}
    assert await rig.letters() == []
    assert hand.report.status()["dead_letters"]["enabled"] is False


async def test_a_value_that_is_too_large_becomes_a_pointer_with_a_hash(rig: Rig) -> None:
    """The record stays where it is; the letter says where, how long it is and what it hashes to."""
    rig.work(dead_letters={"max_letter_bytes": 2000})
    large, long_key = b"[" * 2000, b"k" * 5000
    await rig.write(large, key=b"k")
    await rig.write(b"[", key=long_key)
    await rig.until_committed(2)
    found = {headers_of(each)["ldsync-offset"]: each for each in await rig.letters()}
    first = json.loads(found["0"].value)
    assert headers_of(found["0"])["ldsync-value"] == "pointer"
    assert found["0"].key == b"k"
    assert first.pop("timestamp") > 0
    assert first == {
        "format": "ldsync-pointer/1",
        "topic": rig.topic,
        "partition": 0,
        "offset": 0,
        "bytes": 2000,
        "sha256": hashlib.sha256(large).hexdigest(),
    }
    second = json.loads(found["1"].value)
    assert found["1"].key is None
    assert second["key_sha256"] == hashlib.sha256(long_key).hexdigest()
    assert second["key_bytes"] == 5000


# --- the start -----------------------------------------------------------------------------------


async def ended(hand: Hand) -> BaseException:
    """Why it did not even start."""
    await asyncio.wait({hand.task}, timeout=20)
    error = hand.task.exception()
    assert error is not None
    return error


async def test_a_missing_topic_that_must_not_be_made_ends_the_start_in_time(rig: Rig) -> None:
    """It might still come; then the message says what to do."""
    hand = rig.work(
        dead_letters={"topic": "missing", "create_topic": False},
        kafka={"start_timeout_seconds": 1.0},
    )
    error = await ended(hand)
    assert isinstance(error, SourceUnavailable)
    assert "no dead-letter topic missing" in str(error)
    assert "dead_letters.enabled = false" in str(error)


async def test_a_topic_that_may_not_be_described_ends_the_start_at_once(rig: Rig) -> None:
    """Waiting would not help."""
    rig.broker.fail_topic(rig.dead_letters, TOPIC_DENIED)
    error = await ended(rig.work())
    assert isinstance(error, SourceMisconfigured)
    assert f"describe the dead-letter topic {rig.dead_letters}" in str(error)


async def test_a_topic_that_is_not_ready_is_waited_for(rig: Rig) -> None:
    """Its leader is being elected."""
    rig.broker.fail_topic(rig.dead_letters, 5)
    hand = rig.work()
    await hand.until(lambda: hand.worker.state is State.JOINING, "it waits")
    await asyncio.sleep(0.2)
    assert not hand.worker.source.assigned
    rig.broker.fail_topic(rig.dead_letters, 0)
    await hand.until_assigned()
