"""What several runs share, one after the other: brokers, Redis, and the cables to LaunchDarkly."""

import asyncio
from pathlib import Path

from tests.chaos.cluster import SLOTS, Cluster
from tests.chaos.proxy import Cable
from tests.support.real_redis import RealRedis


class Ground:
    """Servers that are started when the first run asks for them. End it with `clear`.

    Starting Java costs several seconds of a core, so brokers live as long as the ground does. What
    a run leaves on them no other run meets: topics and groups have names of their own.

    Attributes:
        cables: By slot of a process, its cable to LaunchDarkly.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._clusters: dict[int, Cluster] = {}
        self._redis: RealRedis | None = None
        self.cables = [Cable() for _ in range(SLOTS)]
        self._laid = False

    async def cluster(self, brokers: int) -> Cluster:
        """Running brokers, that many."""
        if brokers not in self._clusters:
            cluster = Cluster(self._directory / f"kafka-{brokers}", brokers)
            self._clusters[brokers] = cluster
            await cluster.start()
        await self._clusters[brokers].heal()
        return self._clusters[brokers]

    async def redis(self) -> RealRedis:
        """A running Redis that is empty."""
        if self._redis is None:
            self._redis = RealRedis(self._directory / "redis")
        await asyncio.to_thread(self._redis.restart)
        return self._redis

    async def lead_to(self, port: int) -> None:
        """Let the cables to LaunchDarkly lead to a port, whole."""
        for cable in self.cables:
            if not self._laid:
                await cable.start()
            cable.goal = port
            cable.mend()
        self._laid = True

    async def clear(self) -> None:
        """End everything."""
        for cable in self.cables:
            await cable.stop()
        for cluster in self._clusters.values():
            await cluster.stop()
        if self._redis is not None:
            self._redis.stop()

    def end(self) -> None:
        """End what a thread may have started while everything was being ended."""
        for cluster in self._clusters.values():
            for node in cluster.nodes:
                node.kill()
        if self._redis is not None:
            self._redis.kill()
