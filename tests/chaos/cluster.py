"""Kafka for one run after the other: one broker, or two of which the second only keeps copies.

Each process of ldsync has a listener of its own, and comes to it through a cable of its own: the
brokers tell it to come back by that way only.
"""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.proxy import Cable
from tests.support.kafka_admin import KafkaAdmin
from tests.support.real_kafka import RealKafka

PATIENCE = 240.0  # seconds for a broker to start: on a machine full of runs it takes long
SLOTS = 3  # processes at once, at most
_CONFIG = {
    "log.cleaner.backoff.ms": "500",
    "auto.leader.rebalance.enable": "false",
}


class Cluster:
    """Brokers and the cables to them. Use `start` and, in a `finally`, `stop`.

    Attributes:
        nodes: The brokers; the first is the controller, too.
        cables: By slot of a process, its cables to the brokers.
    """

    def __init__(self, directory: Path, brokers: int) -> None:
        self.cables = [[Cable() for _ in range(brokers)] for _ in range(SLOTS)]
        self.nodes: list[RealKafka] = []
        copies = {
            "offsets.topic.replication.factor": str(brokers),
            "transaction.state.log.replication.factor": str(brokers),
            "default.replication.factor": str(brokers),
        }
        for number in range(brokers):
            node = RealKafka(
                directory / f"node-{number + 1}",
                config=_CONFIG | copies,
                advertised={
                    f"SLOT{slot}": cables[number].port for slot, cables in enumerate(self.cables)
                },
                joins=self.nodes[0] if self.nodes else None,
            )
            self.nodes.append(node)

    async def start(self) -> None:
        """Lay the cables, and start the brokers one after the other."""
        for slot, cables in enumerate(self.cables):
            for node, cable in zip(self.nodes, cables, strict=True):
                cable.goal = node.port(f"SLOT{slot}")
                await cable.start()
        for node in self.nodes:
            await asyncio.to_thread(node.start, PATIENCE)

    async def heal(self) -> None:
        """Start what does not run, and mend all cables."""
        for cables in self.cables:
            for cable in cables:
                cable.mend()
        for node in self.nodes:
            if not node.is_running:
                await asyncio.to_thread(node.start, PATIENCE)

    async def stop(self) -> None:
        """End all brokers, and take the cables up."""
        for node in reversed(self.nodes):
            await asyncio.to_thread(node.kill)
        for cables in self.cables:
            for cable in cables:
                await cable.stop()

    @property
    def admin(self) -> KafkaAdmin:
        """An administrator of it, who knows the first broker."""
        return self.nodes[0].admin

    def bootstrap(self, slot: int) -> str:
        """Where the process of a slot connects."""
        return ",".join(f"127.0.0.1:{cable.port}" for cable in self.cables[slot])

    def create_topic(self, partitions: int, config: Mapping[str, str]) -> str:
        """A fresh topic with a copy on each broker."""
        name = f"events-{uuid.uuid4().hex[:8]}"
        self.admin.create_topic(name, partitions, config, replicas=len(self.nodes))
        return name
