"""`ldsync run` as a process: signals, exit codes, what it shows, and outages of LaunchDarkly."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ldsync.demo.simulator import Fault
from tests.support import judge
from tests.support.deployment import ENVIRONMENT, PROJECT, Deployment, deployed
from tests.support.eventually import eventually
from tests.support.ldsync_process import QUICK, TOKEN, LdsyncProcess, merged
from tests.support.ports import unused_port
from tests.support.real_kafka import RealKafka
from tests.support.traffic import SECRET_EMAIL, entering

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

PARTITIONS = 3
UNAVAILABLE = Fault(route="* /api/v2/segments/*", status=503)
# Nothing becomes due by itself: what is written was written by the drain.
NEVER_DUE = {"batch": {"max_age_seconds": 600}}


@pytest.fixture
async def deployment(real_kafka: RealKafka, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A topic of three partitions and a LaunchDarkly that behaves."""
    async with deployed(real_kafka, tmp_path, PARTITIONS) as deployment:
        yield deployment


async def _is_delivered(deployment: Deployment) -> None:
    """The segments are the fold of the topic."""
    records = await asyncio.to_thread(deployment.kafka.admin.read, deployment.topic)
    assert deployment.members() == judge.fold(judge.read_changes(records)) != set()


async def _until_consumed(process: LdsyncProcess, count: int) -> None:
    async def consumed() -> bool:
        return await process.metric("ldsync_records_consumed_total") == count

    await eventually(consumed, f"{count} records are consumed")


async def test_sigterm_writes_and_commits_everything_consumed_and_exits_0(
    deployment: Deployment,
) -> None:
    """A drain leaves nothing behind: neither members unwritten nor offsets uncommitted."""
    process = deployment.launch(NEVER_DUE)
    await process.until_ready()
    await deployment.produce(entering(1_000, "first_time_shopper"))
    await _until_consumed(process, 1_000)
    assert deployment.members() == set()
    process.signal(signal.SIGTERM)
    assert await process.exit_code() == 0
    await _is_delivered(deployment)
    assert await deployment.committed() == await deployment.ends()
    assert await asyncio.to_thread(deployment.kafka.admin.group_members, deployment.group) == {}


@pytest.mark.parametrize(
    ("second", "code"),
    [
        pytest.param(signal.SIGTERM, 143, id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, id="SIGINT"),
    ],
)
async def test_a_second_signal_exits_at_once(
    deployment: Deployment, second: signal.Signals, code: int
) -> None:
    """While the drain waits for LaunchDarkly, another signal ends it without waiting."""
    hanging = deployment.simulator.faults.add(
        Fault(route="patch_segment", delay_seconds=float("inf"))
    )
    # A drain that would take far longer than this test waits.
    process = deployment.launch(
        merged(
            NEVER_DUE,
            {
                "launchdarkly": {"timeout_seconds": 50},
                "ordering": {"settle_seconds": 60},
                "shutdown": {"drain_seconds": 60},
                "kafka": {"rebalance_timeout_seconds": 90, "request_timeout_seconds": 120},
            },
        )
    )
    await process.until_ready()
    await deployment.produce(entering(100, "first_time_shopper"))
    await _until_consumed(process, 100)
    process.signal(signal.SIGTERM)
    await eventually(
        lambda: deployment.simulator.faults.befallen(hanging), "the drain waits for an answer"
    )
    assert (await process.ask("/readyz"))[0] == 503
    process.signal(second)
    assert await process.exit_code(limit=3) == code
    assert deployment.members() == set()
    # Not committed, so not lost: whoever comes next is given it again.
    assert sum((await deployment.committed()).values()) == 0


async def test_an_outage_of_launchdarkly_holds_the_offsets_and_loses_nothing(
    deployment: Deployment,
) -> None:
    """While nothing can be written nothing is committed; afterwards everything arrives."""
    process = deployment.launch()
    await process.until_ready()
    await deployment.produce(entering(500, "before"))
    await deployment.until_caught_up()
    before = await deployment.committed()

    outage = deployment.simulator.faults.add(UNAVAILABLE)
    await deployment.produce(entering(3_000, "during"))
    await _until_consumed(process, 3_500)
    await eventually(
        lambda: deployment.simulator.faults.befallen(outage) >= 5, "five attempts have failed"
    )
    assert await deployment.committed() == before
    scrape = await process.scrape()
    assert scrape.total("ldsync_records_pending") == 3_000
    assert scrape.unexplained() == 0
    assert (await process.ask("/readyz"))[0] == 200
    assert (await process.ask("/healthz"))[0] == 200

    deployment.simulator.faults.clear()
    await deployment.until_caught_up()
    await _is_delivered(deployment)


async def test_a_process_killed_in_an_outage_leaves_everything_to_the_next(
    deployment: Deployment,
) -> None:
    """What was only in memory is consumed again by the process that takes over."""
    outage = deployment.simulator.faults.add(UNAVAILABLE)
    killed = deployment.launch()
    await killed.until_ready()
    await deployment.produce(entering(2_000, "first_time_shopper"))
    await _until_consumed(killed, 2_000)
    await eventually(
        lambda: deployment.simulator.faults.befallen(outage) >= 4, "four attempts have failed"
    )
    killed.kill()
    deployment.simulator.faults.clear()
    deployment.launch()
    await deployment.until_caught_up()
    await _is_delivered(deployment)


async def test_a_full_buffer_pauses_consumption_and_the_group_keeps_its_member(
    deployment: Deployment,
) -> None:
    """The budget holds through an outage longer than the session timeout, then all is delivered."""
    budget, poll, events = 5_000, 500, 12_000
    outage = deployment.simulator.faults.add(UNAVAILABLE)
    process = deployment.launch(
        {"buffer": {"max_changes": budget}, "kafka": {"max_poll_records": poll}}
    )
    await process.until_ready()
    members = await asyncio.to_thread(deployment.kafka.admin.group_members, deployment.group)
    await deployment.produce(entering(events, "first_time_shopper"))

    most = 0.0
    until = time.monotonic() + 1.5 * float(QUICK["kafka"]["session_timeout_seconds"])

    async def outlasted() -> bool:
        nonlocal most
        most = max(most, await process.metric("ldsync_buffered_changes"))
        return time.monotonic() > until

    await eventually(outlasted, "the outage outlasts the session timeout")
    # One poll may be under way when the budget is reached.
    assert budget * 0.8 <= most <= budget + poll
    assert await process.metric("ldsync_records_consumed_total") <= budget + poll
    assert deployment.simulator.faults.befallen(outage) > 1
    assert (
        await asyncio.to_thread(deployment.kafka.admin.group_members, deployment.group) == members
    )

    deployment.simulator.faults.clear()
    await deployment.until_caught_up()
    await _is_delivered(deployment)


async def test_neither_the_token_nor_an_event_is_ever_shown(deployment: Deployment) -> None:
    """P8, with everything going wrong that could quote them, and logging at its most talkative."""
    faults = deployment.simulator.faults
    faults.add(Fault(route="patch_segment", status=400, message="bad", times=1))
    faults.add(Fault(route="patch_segment", status=500, times=2))
    email = SECRET_EMAIL.encode()
    broken = [
        b'{"type": "identify", "traits": {"email": "' + email,
        b'{"type": "track", "context": {"personas": {"computation_class": "audience",'
        b' "computation_id": 7.5, "computation_key": "' + email + b'"}}}',
        b"\xff\xfe" + email,
    ]
    process = deployment.launch()
    await process.until_ready()
    await deployment.produce((b"key", value) for value in broken)
    await deployment.produce(entering(300, "first_time_shopper"))
    await deployment.until_caught_up()
    # Last, because nobody tries again soon after it.
    refused = faults.add(Fault(status=401))
    await deployment.produce(entering(300, "window_shopper"))
    await eventually(lambda: faults.befallen(refused), "the token is refused")
    await eventually(lambda: "unauthorized" in process.output, "the log says so")
    pages = [
        (await process.ask(path))[1] for path in ("/metrics", "/status", "/readyz", "/healthz")
    ]
    for shown in [process.output, *pages]:
        assert TOKEN not in shown
        assert SECRET_EMAIL not in shown
    assert await process.metric("ldsync_records_total", outcome="invalid") == len(broken)


async def test_a_bad_configuration_exits_78_with_every_problem(tmp_path: Path) -> None:
    """All problems at once, each with its key; nothing is started."""
    process = LdsyncProcess(
        tmp_path / "process",
        {
            "kafka": {"bootstrap_servers": "localhost:9092", "sesion_timeout": 3},
            "launchdarkly": {"environment_key": "production"},
            "batch": {"max_size": 0},
        },
    )
    process.start()
    assert await process.exit_code() == 78
    for key in ("kafka.sesion_timeout", "launchdarkly.project_key", "batch.max_size"):
        assert key in process.output
    assert "Traceback" not in process.output
    assert TOKEN not in process.output


async def test_a_broker_that_cannot_be_reached_exits_69_within_the_start_timeout(
    tmp_path: Path,
) -> None:
    """The exit code says that a dependency is missing, and the log which."""
    address = f"127.0.0.1:{unused_port()}"
    process = LdsyncProcess(
        tmp_path / "process",
        merged(
            QUICK,
            {
                "kafka": {"bootstrap_servers": address, "start_timeout_seconds": 2},
                "launchdarkly": {
                    "base_url": f"http://127.0.0.1:{unused_port()}",
                    "project_key": PROJECT,
                    "environment_key": ENVIRONMENT,
                },
            },
        ),
    )
    process.start()
    try:
        # Two seconds of trying, and what starting Python and closing take on a busy machine.
        assert await process.exit_code(limit=2 + 6) == 69
    finally:
        process.kill()
    assert address in process.output
    assert "Traceback" not in process.output
    assert TOKEN not in process.output
