"""A topic, a simulated LaunchDarkly and as many `ldsync run` processes as a test wants."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from ldsync.demo.simulator import Action, Simulator
from tests.support.eventually import eventually
from tests.support.hand_over import leave_clean
from tests.support.judge import Member, Write
from tests.support.ldsync_process import QUICK, TOKEN, LdsyncProcess, Tables, merged
from tests.support.real_kafka import RealKafka
from tests.support.traffic import SECRET_EMAIL, Record

PROJECT, ENVIRONMENT = "shop", "production"


class Deployment:
    """What an operator would have put up. Use `deployed`, which also ends it.

    Every process reaches the simulator under a loopback address of its own (127.0.0.2, 127.0.0.3
    and so on): the journal's `host` header then tells who sent a request.

    Attributes:
        kafka: The broker.
        simulator: LaunchDarkly, in this process.
        topic: The topic with the events.
        group: The consumer group.
        processes: All that were launched, in that order.
    """

    def __init__(self, kafka: RealKafka, simulator: Simulator, topic: str, directory: Path) -> None:
        self.kafka = kafka
        self.simulator = simulator
        self.topic = topic
        self.group = f"group-{uuid.uuid4().hex[:8]}"
        self.processes: list[LdsyncProcess] = []
        self._directory = directory

    def launch(
        self,
        settings: Tables | None = None,
        environment: Mapping[str, str] | None = None,
        files: int | None = None,
    ) -> LdsyncProcess:
        """Start one more process, with settings over those of `QUICK`."""
        port = self.simulator.url.rpartition(":")[2]
        own: Tables = {
            "kafka": {
                "bootstrap_servers": self.kafka.bootstrap_servers,
                "topics": [self.topic],
                "group_id": self.group,
            },
            "launchdarkly": {
                "base_url": f"http://{self.address(len(self.processes))}:{port}",
                "project_key": PROJECT,
                "environment_key": ENVIRONMENT,
            },
        }
        directory = self._directory / f"process-{len(self.processes)}"
        process = LdsyncProcess(
            directory, merged(QUICK, own, settings or {}), environment, files=files
        )
        self.processes.append(process)
        process.start()
        return process

    @staticmethod
    def address(number: int) -> str:
        """The address under which the nth process (from 0) reaches the simulator."""
        return f"127.0.0.{number + 2}"

    async def produce(self, records: Iterable[Record]) -> int:
        """Write records to the topic; return how many."""
        return await asyncio.to_thread(self.kafka.admin.produce, self.topic, records)

    async def committed(self) -> dict[int, int]:
        """What the group has committed, by partition."""
        return await asyncio.to_thread(self.kafka.admin.group_offsets, self.group, self.topic)

    async def ends(self) -> dict[int, int]:
        """The ends of the log, by partition."""
        return await asyncio.to_thread(self.kafka.admin.end_offsets, self.topic)

    async def until_caught_up(self, limit: float = 60.0) -> None:
        """Wait until the group's offsets are the ends of the log wherever there are records."""

        async def caught_up() -> bool:
            ends = {number: end for number, end in (await self.ends()).items() if end}
            return (await self.committed()) == ends

        try:
            await eventually(caught_up, "the group's offsets are the ends of the log", limit, 0.2)
        except AssertionError as failure:
            state = f"{await self.committed()} of {await self.ends()}"
            raise AssertionError(f"{failure}; committed {state}\n{self._last_words()}") from None

    def members(self) -> set[Member]:
        """(segment key, context key) of everybody who is in a segment."""
        return {
            (segment, key)
            for segment, kinds in self.simulator.state().items()
            for key in kinds.get("user", ())
        }

    def writes(self, wall_minus_monotonic: float) -> list[Write]:
        """Every member of every request that took effect, with wall-clock times."""
        assert self.simulator.log.dropped == 0, "the journal is not complete"
        return [
            Write(
                (write.segment, write.key),
                write.action is Action.INCLUDE,
                write.exchange.applied + wall_minus_monotonic,
            )
            for write in self.simulator.log.writes()
            if write.exchange.applied is not None
        ]

    def overlapping_patches(self) -> list[str]:
        """Pairs of patches that one process had open at once for one segment (P4), in words.

        With one patch per segment at a time no member can be in two writes at once either. Between
        processes members are kept apart by partitions; their patches of a segment may overlap.
        """
        open_until: dict[tuple[str, str], float] = {}
        found = []
        for exchange in self.simulator.log.exchanges:
            if exchange.route != "patch_segment":
                continue
            place = (exchange.headers["host"], exchange.path)
            if exchange.arrived < open_until.get(place, 0.0):
                found.append(f"{place} at {exchange.arrived}")
            ended = float("inf") if exchange.ended is None else exchange.ended
            open_until[place] = max(open_until.get(place, 0.0), ended)
        return found

    def leaks(self) -> list[str]:
        """Lines of the processes' output with the token or with part of a raw event (P8)."""
        return [
            line
            for process in self.processes
            for line in process.output.splitlines()
            if TOKEN in line or SECRET_EMAIL in line
        ]

    def _last_words(self) -> str:
        return "\n".join(process.output[-2000:] for process in self.processes)


@asynccontextmanager
async def deployed(
    kafka: RealKafka,
    directory: Path,
    partitions: int,
    config: Mapping[str, str] | None = None,
    *,
    clean: bool = True,
) -> AsyncIterator[Deployment]:
    """A deployment with a fresh topic; at its end processes are killed and searched for leaks.

    Unless `clean` is False its first process takes over from one that left in order.
    """
    topic = await asyncio.to_thread(kafka.create_topic, "", partitions, config)
    simulator = Simulator(project=PROJECT, environment=ENVIRONMENT, token=TOKEN)
    await simulator.start("0.0.0.0")  # noqa: S104 - all loopback addresses, see Deployment
    deployment = Deployment(kafka, simulator, topic, directory)
    if clean:
        await leave_clean(kafka.bootstrap_servers, deployment.group, topic, partitions)
    try:
        yield deployment
    finally:
        for process in deployment.processes:
            process.kill()
        await simulator.stop()
    assert deployment.leaks() == []
