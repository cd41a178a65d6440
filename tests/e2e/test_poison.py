"""Members that LaunchDarkly refuses, from the topic to the dead-letter topic, by a real process."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support.deployment import Deployment, deployed
from tests.support.real_kafka import RealKafka
from tests.support.traffic import entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

BATCH, AUDIENCE = 1_500, "first_time_shopper"
# Nothing becomes due by its age: what is written is one full batch.
FULL_BATCHES = {"batch": {"max_size": BATCH, "max_age_seconds": 600}}


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of one partition, so that members of a batch are in the order of the topic."""
    async with deployed(real_kafka, tmp_path, partitions=1) as deployment:
        yield deployment


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([374, 1000, 1124], id="spread"),
        pytest.param([749, 750, 751], id="neighbours"),
    ],
)
async def test_three_bad_members_of_1500_become_dead_letters_and_nobody_else(
    deployment: Deployment, places: list[int]
) -> None:
    """In at most 65 requests, from looking the segment up to the last one (P5)."""
    simulator, records = deployment.simulator, list(entering(BATCH, AUDIENCE))
    users = [json.loads(value)["userId"] for _, value in records]
    bad = {users[place]: records[place] for place in places}
    for user in bad:
        refusal = Fault(route="patch_segment", member=user, status=400, message=f"no {user} here")
        simulator.faults.add(refusal)
    process = deployment.launch(FULL_BATCHES)
    await process.until_ready()
    await deployment.produce(records)
    await deployment.until_caught_up()

    assert simulator.included(AUDIENCE) == set(users) - bad.keys()
    asked = [each for each in simulator.log.exchanges if "/segments/" in each.path]
    patches = [each for each in asked if each.route == "patch_segment"]
    assert patches[0].members == BATCH
    assert 3 * 2 <= len(patches) < len(asked) <= 65

    admin, topic = deployment.kafka.admin, f"{deployment.topic}.dead-letters"
    letters = await asyncio.to_thread(admin.read, topic)
    told = {
        (headers["ldsync-member"], headers["ldsync-segment"], headers["ldsync-reason"]): (
            headers["ldsync-detail"],
            (letter.key(), letter.value()),
            int(headers["ldsync-offset"]),
        )
        for letter in letters
        if (headers := {name: content.decode() for name, content in letter.headers()})
    }
    assert told == {
        (f"user/{user}", AUDIENCE, "bad_request"): (f"no {user} here", bad[user], place)
        for user, place in zip(bad, places, strict=True)
    }
    assert len(letters) == len(bad)

    scrape = await process.scrape()
    assert scrape.total("ldsync_records_total", outcome="delivered") == BATCH - len(bad)
    assert scrape.total("ldsync_records_total", outcome="rejected", reason="bad_request") == 3
    assert scrape.total("ldsync_dead_letters_total", reason="bad_request") == 3
    assert scrape.unexplained() == scrape.total("ldsync_records_pending") == 0
