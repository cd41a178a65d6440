"""What can go wrong with a segment, all of it at once, and what becomes of it and of the others.

Seventeen segments have a fault each while events of all segments keep coming; four have none. The
whole is lived through once, by a real process on a real Kafka; the tests look at what is left.
Whether the others are as quick as without faults is told by a bench: `make bench ARGS=faults`.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ldsync.demo.fold import Difference, Fold, Verdict
from tests.support import judge
from tests.support.deployment import Deployment, deployed
from tests.support.eventually import eventually
from tests.support.faults import CASES, Case, InForce
from tests.support.ldsync_process import OUTCOMES, LdsyncProcess, Scrape
from tests.support.offsets_topic import OFFSETS_TOPIC, commits
from tests.support.real_kafka import RealKafka
from tests.support.traffic import Record, engage_event, keyed

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PARTITIONS, USERS = 3, 40
HEALTHY = [f"healthy_{number}" for number in range(4)]
ROUNDS, ROUND_SECONDS = 12, 0.3  # of changes of every user in every segment, during the faults
SETTINGS = {
    "batch": {"max_age_seconds": 0.3},
    "kafka": {"commit_interval_seconds": 0.3},
}
PROMPTLY = 10.0  # seconds; whatever waits for a person waits longer, 15 at the least
PATIENCE = 120.0  # seconds; what a person has to end is looked at again after 15 to 30


@dataclass(frozen=True, slots=True)
class Story:
    """What was seen.

    Attributes:
        late: Members of the healthy segments who were not as they should be, with all events
            read and the faults still in force.
        befallen: How many requests each fault befell, by its name.
        reasons: For what reasons attempts were repeated, as the log says, by segment; those which
            pass by themselves are only sometimes told.
        output: The process's log.
        differences: Members who are not as they should be in the end.
        scrape: The metrics in the end.
        records: How many records there were.
        changes: How many of them were changes.
        audit: Of all commits.
        overlaps: Patches of a segment that were in flight at once.
    """

    late: list[Difference]
    befallen: dict[str, int]
    reasons: dict[str, set[str]]
    output: str
    differences: list[Difference]
    scrape: Scrape
    records: int
    changes: int
    audit: judge.Audit
    overlaps: list[str]


@pytest.fixture(scope="module")
def story(real_kafka: RealKafka, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """All faults at once, lived through once."""
    return asyncio.run(_live_through_it(real_kafka, tmp_path_factory.mktemp("faults")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_segment_with_a_fault_is_correct_when_that_is_over(story: Story, case: Case) -> None:
    """The fault did befall it, with the reason that the documentation gives, and passed."""
    if case.orders:
        assert story.befallen[case.name] >= 1
    if case.reason:
        assert story.scrape.total("ldsync_retries_total", reason=case.reason) >= 1
    assert story.reasons.get(case.segment, set()) <= {case.reason}
    assert [each for each in story.differences if each.segment == case.segment] == []


def test_the_other_segments_are_delivered_while_seventeen_have_a_fault(story: Story) -> None:
    """Every change of theirs, before the first of the faults was over (P5)."""
    assert story.late == []


def test_nothing_is_lost_by_any_fault(story: Story) -> None:
    """The state is the fold of the topic, and no commit ever passed an unsettled change (P1)."""
    assert story.differences == []
    assert story.audit.violations == []
    assert story.audit.delivered > story.changes / 20
    assert story.overlaps == []


def test_every_record_has_one_outcome_and_none_is_rejected(story: Story) -> None:
    """P7: whatever LaunchDarkly says about requests, no member was to blame."""
    scrape = story.scrape
    assert scrape.total("ldsync_records_consumed_total") == story.records
    assert scrape.total("ldsync_records_pending") == 0
    assert scrape.unexplained() == 0
    told = {each: scrape.total("ldsync_records_total", outcome=each) for each in OUTCOMES}
    assert {outcome for outcome, count in told.items() if count} == {"delivered", "coalesced"}
    assert sum(told.values()) == story.changes == story.records
    assert scrape.total("ldsync_dead_letters_total") == 0


def test_a_deleted_segment_is_made_again_and_said_to_be(story: Story) -> None:
    """Who has to know that it holds less than before reads it in the log."""
    deleted = next(case for case in CASES if case.name == "404 deleted")
    lines = [line for line in _lines(story.output) if line["event"] == "segment.recreated"]
    assert [line["segment"] for line in lines] == [deleted.segment]


async def _live_through_it(kafka: RealKafka, directory: Path) -> Story:
    # The broker's own append times, so that all times of the audit are of one clock.
    config = {"message.timestamp.type": "LogAppendTime"}
    async with deployed(kafka, directory, PARTITIONS, config) as deployment:
        clock_offset = time.time() - time.monotonic()
        process = deployment.launch(SETTINGS)
        await process.until_ready()
        await deployment.produce(_before())
        await deployment.until_caught_up()

        simulator = deployment.simulator
        troubles = [case.put_in_force(simulator) for case in CASES]
        await deployment.produce(_paced_rounds())
        late = await _late(deployment)
        await _all_are_felt(process, troubles)
        befallen = {trouble.case.name: trouble.befallen for trouble in troubles}
        for trouble in troubles:
            trouble.end()

        await deployment.produce(_after())
        await deployment.until_caught_up(PATIENCE)
        slack = abs(time.time() - time.monotonic() - clock_offset) + 0.001
        return await _told(deployment, process, late, befallen, clock_offset, slack)


async def _late(deployment: Deployment) -> list[Difference]:
    """What the healthy segments lack, once they had a fair time to be written."""
    fold = await _fold(deployment)

    def lacking() -> list[Difference]:
        return [
            each for each in fold.differences(deployment.simulator.state()) if _is_healthy(each)
        ]

    try:
        await eventually(lambda: not lacking(), "the others are delivered", PROMPTLY)
    except AssertionError:
        return lacking()
    return []


def _is_healthy(difference: Difference) -> bool:
    return difference.segment in HEALTHY


async def _all_are_felt(process: LdsyncProcess, troubles: list[InForce]) -> None:
    """Wait until every fault has been met with."""

    async def felt() -> bool:
        scrape = await process.scrape()
        return all(_is_felt(trouble, scrape) for trouble in troubles)

    await eventually(felt, "every fault has befallen a request")


def _is_felt(trouble: InForce, scrape: Scrape) -> bool:
    case = trouble.case
    if case.orders:
        return trouble.befallen >= 1
    return not case.reason or scrape.total("ldsync_retries_total", reason=case.reason) >= 1


async def _told(
    deployment: Deployment,
    process: LdsyncProcess,
    late: list[Difference],
    befallen: dict[str, int],
    clock_offset: float,
    slack: float,
) -> Story:
    fold = await _fold(deployment)
    admin, topic = deployment.kafka.admin, deployment.topic
    records = await asyncio.to_thread(admin.read, topic)
    kept = await asyncio.to_thread(admin.read, OFFSETS_TOPIC)
    reasons: dict[str, set[str]] = {}
    for line in _lines(process.output):
        if line["event"] == "batch.retry":
            reasons.setdefault(str(line["segment"]), set()).add(str(line["reason"]))
    return Story(
        late=late,
        befallen=befallen,
        reasons=reasons,
        output=process.output,
        differences=fold.differences(deployment.simulator.state()),
        scrape=await process.scrape(),
        records=len(records),
        changes=fold.verdicts[Verdict.CHANGE],
        audit=judge.audit(
            judge.read_changes(records),
            deployment.writes(clock_offset),
            commits(kept, deployment.group, topic),
            slack,
        ),
        overlaps=deployment.overlapping_patches(),
    )


async def _fold(deployment: Deployment) -> Fold:
    fold = Fold()
    for record in await asyncio.to_thread(deployment.kafka.admin.read, deployment.topic):
        fold.add(
            record.value(), partition=record.partition(), recorded_ms=int(record.timestamp()[1])
        )
    return fold


def _lines(output: str) -> Iterator[dict[str, object]]:
    for line in output.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _before() -> Iterator[Record]:
    """Every second user enters, where segments are known before their fault begins."""
    known = [*HEALTHY, *(case.segment for case in CASES if not case.unseen)]
    for user in range(USERS):
        for segment in known:
            yield _change(segment, user, entered=user % 2 == 0)


def _paced_rounds() -> Iterator[Record]:
    """Rounds in which every user changes or stays, most of them in: segments grow meanwhile."""
    started = time.monotonic()
    for number in range(ROUNDS):
        time.sleep(max(0.0, started + number * ROUND_SECONDS - time.monotonic()))
        for user in range(USERS):
            for segment in [*HEALTHY, *(case.segment for case in CASES)]:
                yield _change(segment, user, entered=(user + number) % 5 != 0)


def _after() -> Iterator[Record]:
    """Every third user is in, in the end: also in a segment that was deleted meanwhile."""
    for user in range(USERS):
        for segment in [*HEALTHY, *(case.segment for case in CASES)]:
            yield _change(segment, user, entered=user % 3 == 0)


def _change(segment: str, user: int, *, entered: bool) -> Record:
    return keyed(engage_event(f"user-{user:03}", segment, entered, datetime.now(UTC)))
