"""Replicas that share a Redis against a model of LaunchDarkly: the newest change wins (P2, R7).

Real attempts on a real Redis. Hypothesis deals out the changes, so that those of one member go to
any replica in any order, and then decides, step by step, who goes on: marks, writes and reads of
all replicas interleave. Writes fail, or end without an answer and are applied later or never;
replicas die between any two steps, and what they had not settled goes to a fresh one. Who waits
after a write without an answer, and after a take-over, is what R1 and R2 say: here until the fate
of the request is decided.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ldsync.attempt import attempt
from ldsync.launchdarkly.outcome import Delivered, Outcome, Retry, RetryReason
from ldsync.sync.change import Segment, supersedes
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.redis import RedisVersions
from tests.support.core import segment, stamp
from tests.support.effort import effort
from tests.support.gates import WRITE, GatedVersions, GatedWriter, Gates
from tests.support.redis_fixtures import shared_redis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.real_redis import RealRedis

__all__ = ["shared_redis"]

pytestmark = pytest.mark.redis

MEMBERS = "aaaab"  # few, and mostly one: so that replicas meet
FATES = (*["applied"] * 7, "refused", "lost", "late")


@dataclass
class Late:
    """A request without an answer: what it carries, and who has to wait for its fate."""

    changes: dict[str, str]
    waiters: set[str]


@dataclass
class Batch:
    """What an attempt looks at of a batch."""

    segment: Segment
    changes: dict[str, str]


@dataclass
class Replica:
    """A process: what it still has to deliver, what it is writing, and how."""

    name: str
    todo: list[dict[str, str]]
    writing: dict[str, str] = field(default_factory=dict)
    consumed: dict[str, str] = field(default_factory=dict)
    task: asyncio.Task[Any] | None = None
    versions: Any = None


class World:
    """LaunchDarkly, a Redis, and replicas that go on when they are told to."""

    def __init__(self, url: str, chunks: list[list[dict[str, str]]]) -> None:
        self.api: dict[str, str] = {}
        self.late: list[Late] = []
        self.gates = Gates()
        self.fate = "applied"
        self.segment = segment()
        self._url = url
        self._environment = uuid.uuid4().hex
        self._born = 0
        self.replicas = [self._fresh(todo) for todo in chunks]

    def _fresh(self, todo: list[dict[str, str]]) -> Replica:
        self._born += 1
        return Replica(f"{self._born}", todo)

    async def open(self, replica: Replica) -> None:
        """Connect a replica."""
        replica.versions = RedisVersions(
            self._url,
            self._environment,
            retention=3600.0,
            timeout=5.0,
            warm_after=0.0,
            metrics=Metrics(),
        )
        await replica.versions.look()

    async def close(self) -> None:
        """End everything."""
        for replica in self.replicas:
            if replica.task is not None:
                replica.task.cancel()
                await asyncio.gather(replica.task, return_exceptions=True)
            await replica.versions.close()

    def may_go_on(self, replica: Replica) -> bool:
        """Whether a replica has something to do, and has to wait for nothing."""
        at_write = self.gates.held(replica.name) == WRITE or replica.task is None
        blocked = at_write and any(replica.name in late.waiters for late in self.late)
        return not blocked and (replica.task is not None or bool(replica.todo))

    async def go_on(self, replica: Replica, fate: str) -> None:
        """Let a replica do its next step; `fate` is that of the request, if it is a write."""
        if replica.task is None:
            replica.consumed = replica.todo.pop(0)
            replica.writing = dict(replica.consumed)
            replica.task = asyncio.create_task(self._attempt(replica))
        self.fate = fate
        await self.gates.advance(replica.name)
        task = replica.task
        await self.gates.until(lambda: self.gates.held(replica.name) or task.done())
        if task.done():
            replica.task = None
            if isinstance(task.result(), Retry):
                self._give_back(replica)
            replica.writing = {}

    async def _attempt(self, replica: Replica) -> Outcome:
        writer = GatedWriter(Writer(self, replica), self.gates, replica.name)
        versions = GatedVersions(replica.versions, self.gates, replica.name)
        batch = Batch(self.segment, replica.writing)
        try:
            made = await attempt(cast("Any", batch), versions, cast("Any", writer))
        finally:
            asyncio.get_running_loop().call_soon(self.gates.look_again)
        return made.outcome

    def _give_back(self, replica: Replica) -> None:
        for member, one in replica.writing.items():
            waiting = replica.todo[0].get(member) if replica.todo else None
            if waiting is None or not supersedes(waiting, one):
                if not replica.todo:
                    replica.todo.append({})
                replica.todo[0][member] = one

    async def crash(self, replica: Replica, *, applied_late: bool) -> None:
        """End a replica; a fresh one consumes again what was not settled, as it was consumed."""
        unsettled = [replica.consumed] if replica.task is not None else []
        fresh = self._fresh([*unsettled, *replica.todo])
        if replica.task is not None:
            at_write = self.gates.held(replica.name) == WRITE
            replica.task.cancel()
            await asyncio.gather(replica.task, return_exceptions=True)
            replica.task = None
            if at_write and applied_late:
                self.late.append(Late(dict(replica.writing), set()))
        for late in self.late:
            late.waiters.add(fresh.name)
        await replica.versions.close()
        await self.open(fresh)
        self.replicas[self.replicas.index(replica)] = fresh

    def decide(self, *, applied: bool) -> None:
        """Decide the fate of the oldest request without an answer."""
        late = self.late.pop(0)
        if applied:
            self.api.update(late.changes)


class Writer:
    """LaunchDarkly, as one replica meets it."""

    def __init__(self, world: World, replica: Replica) -> None:
        self._world = world
        self._replica = replica

    async def write(self, _segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Apply changes, refuse them, or give no answer."""
        world = self._world
        if world.fate == "applied":
            world.api.update(changes)
            return Delivered()
        if world.fate == "refused":
            return Retry(RetryReason.SERVER_ERROR, "refused")
        if world.fate == "lost":
            world.api.update(changes)
        else:
            world.late.append(Late(dict(changes), {self._replica.name}))
        return Retry(RetryReason.TIMEOUT, "no answer", ambiguous_since=time.monotonic())


@st.composite
def dealt(draw: st.DrawFn) -> list[list[dict[str, str]]]:
    """Batches of 2 or 3 replicas: changes of few members, their versions in any order."""
    replicas = draw(st.integers(2, 3))
    versions = draw(st.permutations(range(draw(st.integers(3, 8)))))
    chunks: list[list[dict[str, str]]] = [[] for _ in range(replicas)]
    for version in versions:
        member = draw(st.sampled_from(MEMBERS))
        todo = chunks[draw(st.integers(0, replicas - 1))]
        one = stamp(version, draw(st.sampled_from("+-")))
        if not todo or draw(st.booleans()):
            todo.append({member: one})
        elif member not in todo[-1] or supersedes(one, todo[-1][member]):
            todo[-1][member] = one
    return chunks


@given(chunks=dealt(), data=st.data())
@effort(
    150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_newest_wins_whatever_replicas_do_and_suffer(
    shared_redis: RealRedis, chunks: list[list[dict[str, str]]], data: st.DataObject
) -> None:
    """In the end LaunchDarkly holds the newest change of every member."""
    newest: dict[str, str] = {}
    for batch in (batch for todo in chunks for batch in todo):
        for member, one in batch.items():
            newest[member] = max(newest.get(member, ""), one)
    asyncio.run(_play(World(shared_redis.url, chunks), data, newest))


async def _play(world: World, data: st.DataObject, newest: dict[str, str]) -> None:
    for replica in world.replicas:
        await world.open(replica)
    try:
        crashes = 0
        for _ in range(60):
            ready = [each for each in world.replicas if world.may_go_on(each)]
            moves = [("go", each.name) for each in ready] * 4
            moves += [("decide", "")] if world.late else []
            moves += [("crash", each.name) for each in world.replicas if crashes < 2]
            if not ready and not world.late:
                break
            kind, name = data.draw(st.sampled_from(moves))
            if kind == "decide":
                world.decide(applied=data.draw(st.booleans()))
                continue
            (replica,) = (each for each in world.replicas if each.name == name)
            if kind == "go":
                await world.go_on(replica, data.draw(st.sampled_from(FATES)))
            else:
                crashes += 1
                await world.crash(replica, applied_late=data.draw(st.booleans()))
        while world.late:
            world.decide(applied=True)
        while ready := [each for each in world.replicas if world.may_go_on(each)]:
            await world.go_on(ready[0], "applied")
        assert world.api == newest
    finally:
        await world.close()
