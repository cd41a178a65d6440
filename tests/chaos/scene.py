"""The deployment of one run: a topic, a simulated LaunchDarkly, and replicas of ldsync."""

import asyncio
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsync.demo.simulator import Simulator
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Deletion, Record, Store, StoreLoss
from tests.chaos.feeder import Feeder
from tests.chaos.ground import Ground
from tests.chaos.plan import SESSION, SETTLE, Plan
from tests.chaos.replica import Living, Replica
from tests.support.hand_over import leave_clean
from tests.support.ldsync_process import TOKEN, LdsyncProcess, Tables, merged

if TYPE_CHECKING:
    from tests.support.real_redis import RealRedis

PROJECT, ENVIRONMENT = "shop", "production"

# Every duration scaled down together; what must be shorter than what: ldsync/config/rules.py.
_SETTINGS: Tables = {
    "kafka": {
        "session_timeout_seconds": SESSION,
        "heartbeat_interval_seconds": 1.0,
        "rebalance_timeout_seconds": 8.0,
        "request_timeout_seconds": 10.0,
        "commit_interval_seconds": 0.5,
        "start_timeout_seconds": 30.0,
        "stall_timeout_seconds": 60.0,
    },
    "launchdarkly": {
        "timeout_seconds": 1.5,
        "project_key": PROJECT,
        "environment_key": ENVIRONMENT,
    },
    "ordering": {"settle_seconds": SETTLE},
    "retry": {
        "initial_seconds": 0.1,
        "max_seconds": 1.0,
        "operator_initial_seconds": 1.0,
        "operator_max_seconds": 3.0,
    },
    "dead_letters": {"timeout_seconds": 8.0},
    "shutdown": {"drain_seconds": 4.0, "commit_seconds": 1.0},
    "log": {"level": "debug", "format": "json"},
}


class Scene:
    """A deployment. `set_up` it; `tear_down` in a `finally`.

    Attributes:
        plan: What it was set up for.
        cluster: Kafka.
        redis: If versions are kept there.
        simulator: LaunchDarkly.
        topic: The topic.
        group: The consumer group.
        replicas: The replicas.
        feeder: Who writes the history, once it does.
        deletions: Segments deleted so far.
        losses: What Redis lost so far.
    """

    cluster: Cluster
    topic: str
    feeder: Feeder

    def __init__(self, plan: Plan, ground: Ground, directory: Path) -> None:
        self.plan = plan
        self.ground = ground
        self.redis: RealRedis | None = None
        self.simulator = Simulator(project=PROJECT, environment=ENVIRONMENT, token=TOKEN)
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.replicas = [Replica(slot, self._launch) for slot in range(plan.replicas)]
        self.deletions: list[Deletion] = []
        self.losses: list[StoreLoss] = []
        self.directory = directory
        self._lives: list[Living] = []
        self._guards: list[asyncio.Task[None]] = []

    @property
    def lives(self) -> list[Living]:
        """All processes, in order of starting."""
        return list(self._lives)

    async def set_up(self) -> None:
        """Bring up all but the processes."""
        plan = self.plan
        self.cluster = await self.ground.cluster(plan.brokers)
        if plan.store is Store.REDIS:
            self.redis = await self.ground.redis()
        self.topic = await asyncio.to_thread(
            self.cluster.create_topic, plan.partitions, _topic_config(plan)
        )
        if plan.clean:
            servers = self.cluster.nodes[0].bootstrap_servers
            await leave_clean(servers, self.group, self.topic, plan.partitions)
        await self.simulator.start("0.0.0.0")  # noqa: S104 - all loopback addresses, see _launch
        await self.ground.lead_to(int(self.simulator.url.rpartition(":")[2]))

    def start(self) -> None:
        """Start the processes, and see that others follow them."""
        for replica in self.replicas:
            replica.start()
            self._guards.append(asyncio.create_task(replica.supervise()))

    async def tear_down(self) -> None:
        """Kill what runs, and end the simulator."""
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        for living in self._lives:
            living.process.kill()
        await self.simulator.stop()

    async def heal(self) -> None:
        """End all that still troubles it; every replica has a process again."""
        self.simulator.faults.clear()
        self.simulator.environment.approvals_required = False
        for cable in self.ground.cables:
            cable.mend()
        await self.cluster.heal()

    async def farewell(self) -> None:
        """Have every process end in order."""
        for guard in self._guards:
            guard.cancel()
        await asyncio.gather(*self._guards, return_exceptions=True)
        self._guards.clear()
        await asyncio.gather(*(replica.end() for replica in self.replicas))

    async def committed(self) -> dict[int, int]:
        """What the group has committed, by partition."""
        return await asyncio.to_thread(self.cluster.admin.group_offsets, self.group, self.topic)

    async def ends(self) -> dict[int, int]:
        """The ends of the log of partitions that ever held something."""
        ends = await asyncio.to_thread(self.cluster.admin.end_offsets, self.topic)
        return {number: end for number, end in ends.items() if end}

    async def letters(self) -> tuple[Record, ...]:
        """All dead letters; none if there is no topic for them."""
        topic = f"{self.topic}.dead-letters"
        if topic not in await asyncio.to_thread(self.cluster.admin.topics):
            return ()
        return await self.records(topic)

    async def records(self, topic: str) -> tuple[Record, ...]:
        """All records of a topic."""
        return tuple(
            Record(
                each.partition(),
                each.offset(),
                each.timestamp()[1],
                each.key(),
                each.value(),
                tuple(each.headers() or ()),
            )
            for each in await asyncio.to_thread(self.cluster.admin.read, topic)
        )

    def _launch(self, slot: int) -> Living:
        """A process that reaches LaunchDarkly under an address by which it is told from others."""
        number = len(self._lives)
        own: dict[str, dict[str, Any]] = {
            "kafka": {
                "bootstrap_servers": self.cluster.bootstrap(slot),
                "topics": [self.topic],
                "group_id": self.group,
                "client_id": f"replica-{slot}",
            },
            "launchdarkly": {
                "base_url": f"http://{address(number)}:{self.ground.cables[slot].port}"
            },
        }
        if self.redis is not None:
            own["ordering"] = {"redis_url": self.redis.url, "redis_timeout_seconds": 1.0}
        process = LdsyncProcess(
            self.directory / f"process-{number}", merged(_SETTINGS, _settings(self.plan), own)
        )
        process.start()
        living = Living(number, process, started=time.time())
        self._lives.append(living)
        return living


def address(number: int) -> str:
    """The loopback address by which a process calls LaunchDarkly."""
    return f"127.1.0.{number + 1}"


def number_of(host: str) -> int:
    """The process that called a host; the reverse of `address`."""
    return int(host.partition(":")[0].rpartition(".")[2]) - 1


def _settings(plan: Plan) -> Tables:
    settings: dict[str, dict[str, Any]] = {
        "launchdarkly": {"write_path": plan.write_path, "exit_action": plan.exit_action},
        "ordering": {"store": plan.store.value},
        "batch": {"max_age_seconds": plan.batch_seconds, "max_size": plan.batch_size},
    }
    if plan.tight:
        settings["buffer"] = {"max_changes": 2 * plan.batch_size}
        settings["kafka"] = {"max_poll_records": 100}
    if plan.park_after is not None:
        settings["dead_letters"] = {"park_after_seconds": plan.park_after}
    return settings


def _topic_config(plan: Plan) -> dict[str, str]:
    # Times are the broker's own, so that all times of the evidence are of one machine's clock.
    config = {"message.timestamp.type": "LogAppendTime"}
    if plan.compacted:
        config |= {
            "cleanup.policy": "compact",
            "segment.bytes": "1048576",
            "min.cleanable.dirty.ratio": "0.01",
            "min.compaction.lag.ms": "0",
        }
    return config
