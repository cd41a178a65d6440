"""The version store in Redis: for several replicas on a topic where a member has no one partition.

Marks are compared and kept by scripts, one round trip for a batch. What else there is to know is
whether marks can be relied on. Redis keeps a *generation*, which ends when the server that took the
marks is no longer the one that answers, or when it was emptied. A new generation is cold until
somebody declares it warm (R7), and a process that still counts on the one before is told so by the
very script that would have trusted it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from ldsync.versions import scripts
from ldsync.versions.advice import server_concerns
from ldsync.versions.base import StoreState, StoreTrouble, StoreUnavailable
from ldsync.versions.connection import RedisConnection

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ldsync.sync.change import Segment
    from ldsync.telemetry.metrics import Metrics

PROBE_SECONDS: Final = 0.5
"""How often a store that cannot be used is asked whether it can."""
CHECK_SECONDS: Final = 5.0
"""How often one is asked that can: what was lost in between shows at the next write."""

_LOST: Final = (
    "the marks in Redis were lost, or are new: it was emptied, started again, or another node "
    "took over; nothing is written until the store is warm again"
)


class RedisVersions:
    """Remembers the newest stamps of members for all replicas that write to one environment.

    Args:
        url: Of Redis, with user and password.
        environment: Names the LaunchDarkly environment: what writes to the same one must agree.
        retention: Seconds that a mark is remembered at least.
        timeout: Seconds that any request may take.
        warm_after: Seconds after which a cold store is used although history was not noted: None
            to wait until that of all partitions was (`mark_warm`).
        metrics: Where trouble is counted.
    """

    shared = True
    entries = math.nan

    def __init__(
        self,
        url: str,
        environment: str,
        *,
        retention: float,
        timeout: float,
        warm_after: float | None,
        metrics: Metrics,
    ) -> None:
        self._redis = RedisConnection(url, timeout)
        self._tag = f"ldsync:{scripts.FORMAT}:{{{environment}}}"
        self._retention = math.ceil(retention)
        self._warm_after = warm_after
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._generation = ""
        self._kept_since = math.inf
        self._cold_since = math.inf
        self.losses = 0
        self._concerns: set[str] = set()
        self._alarm = asyncio.Event()
        self._told: StoreState | None = None
        self.state = StoreState.DOWN
        self.problem = "Redis was not asked yet"

    def horizon(self, now: float) -> float:
        """Return for how long marks have been kept, but at most the retention."""
        return min(float(self._retention), max(0.0, now - self._kept_since))

    def keys(self, segment: Segment) -> tuple[str, str, str]:
        """Return the keys of the state and of what is marked for a segment: all in one slot."""
        return (
            f"{self._tag}:state",
            f"{self._tag}:{segment.key}:a",
            f"{self._tag}:{segment.key}:b",
        )

    async def merge(self, segment: Segment, changes: dict[str, str], _now: float) -> set[str]:
        """Mark changes before they are written, replaced by what is marked newer (R6, R7)."""
        newer = await self._ask(scripts.MERGE, segment, changes, must_be_warm=True)
        changes.update(newer)
        return set(newer)

    async def confirm(self, segment: Segment, changes: dict[str, str]) -> Collection[str]:
        """Compare the marks with what was written, after the answer (R7)."""
        again = await self._ask(scripts.CONFIRM, segment, changes, must_be_warm=True)
        changes.update(again)
        return again.keys()

    async def note(self, segment: Segment, changes: Mapping[str, str], _now: float) -> None:
        """Mark changes that are not to be written."""
        await self._ask(scripts.MERGE, segment, changes, must_be_warm=False)

    async def known(self, segment: Segment, members: Iterable[str]) -> dict[str, str]:
        """Return what is marked of members."""
        asked = dict.fromkeys(members, "")
        return await self._ask(scripts.KNOWN, segment, asked, must_be_warm=True)

    async def _ask(
        self, script: str, segment: Segment, changes: Mapping[str, str], *, must_be_warm: bool
    ) -> dict[str, str]:
        generation = self._generation
        try:
            answer = await self._redis.run(
                script,
                self.keys(segment),
                generation,
                int(must_be_warm),
                self._retention,
                _json(changes),
            )
            if answer[0] != b"ok":
                raise StoreUnavailable(StoreTrouble(answer[0].decode()), _LOST)
        except StoreUnavailable as error:
            self._fail(error)
            raise
        texts = [each.decode() for each in answer[1:]]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def mark_warm(
        self,
        reach: float | None,
        _now: float,
        *,
        noted: Collection[str] = (),
        wanted: Collection[str] = (),
    ) -> None:
        """Say that history was noted; of partitions, or of all there are.

        The store is warm when all replicas together have noted that of all partitions.
        """
        args: tuple[str | int, ...] = (
            -1 if reach is None else math.floor(reach),
            len(noted),
            *noted,
            *wanted,
        )
        try:
            missing = await self._redis.run(
                scripts.WARM, [f"{self._tag}:state"], self._generation, *args
            )
            if missing < 0:
                raise StoreUnavailable(StoreTrouble.LOST, _LOST)
        except StoreUnavailable as error:
            self._fail(error)
            raise
        if missing:
            self._log.info("ordering.history_noted", partitions=len(noted), missing=missing)
        self._alarm.set()

    # --- whether it can be relied on ------------------------------------------------------------

    async def watch(self) -> None:
        """Look whether Redis is there and still the same: often while it cannot be used."""
        while True:
            await self.look()
            self._alarm.clear()
            seconds = CHECK_SECONDS if self.state is StoreState.UP else PROBE_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._alarm.wait()

    async def look(self) -> None:
        """Bring `state` up to date; declare a store warm that has been cold for long enough."""
        try:
            answer = await self._redis.run(scripts.LOOK, [f"{self._tag}:state"], uuid.uuid4().hex)
            self._learn(answer[0].decode(), warm=bool(answer[1]), kept=float(answer[2]))
            self._warn(answer[3], answer[4])
            if self._is_cold_for_long():
                await self._assume_warm()
        except StoreUnavailable as error:
            self._fail(error)

    def _learn(self, generation: str, *, warm: bool, kept: float) -> None:
        now = time.monotonic()
        self._kept_since = now - kept
        if generation != self._generation:
            if self._generation:
                self.losses += 1
                self._metrics.version_store_errors[StoreTrouble.LOST].inc()
                self._log.error("ordering.marks_lost", detail=_LOST)
            self._generation = generation
            self._cold_since = self._kept_since
        if warm:
            self._enter(StoreState.UP, "")
        else:
            self._enter(StoreState.COLD, _LOST)

    def _fail(self, error: StoreUnavailable) -> None:
        """Let nothing be written until Redis was looked at again, which is at once."""
        self._metrics.version_store_errors[error.trouble].inc()
        if error.trouble in (StoreTrouble.LOST, StoreTrouble.COLD):
            self._enter(StoreState.COLD, str(error))
        else:
            self._enter(StoreState.DOWN, str(error))
        self._alarm.set()

    def _enter(self, state: StoreState, problem: str) -> None:
        self.state, self.problem = state, problem
        if state is self._told:
            return
        self._told = state
        if state is StoreState.UP:
            self._log.info("ordering.store_up", store="redis")
        elif state is StoreState.COLD:
            self._log.warning("ordering.store_cold", store="redis", detail=problem)
        else:
            self._log.error("ordering.store_down", store="redis", detail=problem)

    def _is_cold_for_long(self) -> bool:
        if self.state is not StoreState.COLD or self._warm_after is None:
            return False
        return time.monotonic() - self._cold_since >= self._warm_after

    async def _assume_warm(self) -> None:
        await self.mark_warm(0.0, time.monotonic())
        self._metrics.version_store_assumed_warm.inc()
        self._log.warning(
            "ordering.assumed_warm",
            detail="the version store in Redis was empty or lost marks, and is used again although "
            "nobody knows that all of them were noted again: an event older than one that was "
            "written before may win now",
            cold_seconds=round(time.monotonic() - self._cold_since, 1),
        )
        self._enter(StoreState.UP, "")

    def _warn(self, policy: bytes, evicted: bytes) -> None:
        info = {"maxmemory_policy": policy.decode(), "evicted_keys": int(evicted or 0)}
        concerns = set(server_concerns(info))
        for concern in concerns - self._concerns:
            self._log.warning("ordering.unsafe", store="redis", detail=concern)
        self._concerns = concerns

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self._redis.close()


def _json(changes: Mapping[str, str]) -> bytes:
    try:
        return orjson.dumps(changes)
    except orjson.JSONEncodeError:
        # Half of a surrogate pair in a context key, which LaunchDarkly will not have either.
        return orjson.dumps({m: s for m, s in changes.items() if _is_text(m)})


def _is_text(member: str) -> bool:
    try:
        member.encode()
    except UnicodeEncodeError:
        return False
    return True
