"""Standard segments: members are individual targets, written by semantic patches.

The API's rules (launchdarkly-api contract 4): at most 1,500 target operations a request; all or
nothing; what is so already succeeds, so that writing again is harmless; two patches of one segment
at once conflict. A member that LaunchDarkly will not have is found by halving the batch.
"""

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import orjson

from ldsync.launchdarkly.client import SEMANTIC_PATCH, LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.outcome import (
    REJECTED,
    Delivered,
    Outcome,
    Patience,
    Rejected,
    Retry,
    RetryReason,
    Verdict,
    classify,
)
from ldsync.launchdarkly.reply import Answer, NoAnswer, Reply
from ldsync.launchdarkly.segments import SEGMENT_ROUTE, Adopt, Segments, members_of
from ldsync.launchdarkly.writers.semantic_patch import MAX_OPERATIONS, Change, doubt, patch_body
from ldsync.sync.change import Segment, includes
from ldsync.telemetry.metrics import Metrics

#: Individual targets a standard segment may hold, included and excluded.
MAX_TARGETS: Final = 15_000

#: A race for the segment is lost this often before the batch is given back.
MAX_CONFLICTS: Final = 3
_CONFLICT_JITTER = 0.1  # seconds; doubles

#: So many refusals and not one request accepted (all halves, quarters, … sixteenths of the batch):
#: it is not the members.
MAX_REFUSALS: Final = 31

#: Requests for one batch at most: enough to find some fifteen members out of 1,500.
MAX_REQUESTS: Final = 256


class StandardWriter:
    """Writes batches to standard segments, and creates the segments that are missing.

    Args:
        client: Sends the requests.
        environment: Where to; must be resolved before anything is written.
        tags: What segments are created with; the first one is the mark of ldsync.
        adopt: Which segments that exist already may be written to.
        metrics: Counts the segments created.
        rng: Source of jitter.
    """

    max_members: Final = MAX_OPERATIONS
    """What one batch should hold at most; a larger one takes several requests."""

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        *,
        tags: Sequence[str],
        adopt: Adopt | str,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._environment = environment
        self._segments = Segments(
            client, self._environment, tags=tags, adopt=Adopt(adopt), metrics=metrics
        )
        self._rng = rng
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write one batch: the segment is created or adopted first, once per process life.

        Writes to one segment run one after the other (P4). Nothing is raised but cancellation,
        after which the request in flight may still be applied.

        Args:
            segment: Where to.
            changes: Stamp by member (`kind/key`).
        """
        if not changes:
            return Delivered()
        async with self._locks.setdefault(segment.key, asyncio.Lock()):
            for _ in range(2):
                problem = await self._segments.ensure(segment)
                if problem is not None:
                    return problem
                delivery = _Delivery(
                    self._client, self._segments, self._environment, segment, changes, self._rng
                )
                outcome = await delivery.run()
                if outcome is not None:
                    return outcome
                self._segments.forget(segment)
        return Retry(
            RetryReason.NOT_FOUND,
            f"writing to segment {segment.key}: LaunchDarkly does not know the segment although it "
            "was there a moment ago; ldsync tries again",
        )


class _Delivery:
    """One batch on its way: the requests it takes, and what came of them so far."""

    def __init__(
        self,
        client: LaunchDarklyClient,
        segments: Segments,
        environment: Environment,
        segment: Segment,
        changes: Mapping[str, str],
        rng: random.Random,
    ) -> None:
        self._client = client
        self._segments = segments
        self._environment_key = environment.environment_key
        self._segment = segment
        self._changes = list(changes.items())
        self._rng = rng
        self._doing = f"writing to segment {segment.key}"
        self._names = segments.names(segment)
        self._groups = deque(
            self._changes[at : at + MAX_OPERATIONS]
            for at in range(0, len(self._changes), MAX_OPERATIONS)
        )
        self._requests = 0
        self._refusals = 0
        self._accepted = False
        self._refused: dict[str, Reply] = {}
        self._instead: Retry | None = None  # the outcome, whatever else is accepted

    async def run(self) -> Outcome | None:
        """Send what there is to send. None if the segment is missing."""
        while self._groups:
            group = self._groups.popleft()
            answer = await self._send(group)
            if isinstance(answer, NoAnswer):
                return answer.retry(self._doing, writes_members=True)
            match answer.ruling.verdict:
                case Verdict.ACCEPTED:
                    finding = doubt(answer, group)
                    if finding:
                        return answer.implausible(self._doing, finding, writes_members=True)
                    self._accepted = True
                case Verdict.REFUSED:
                    await self._narrow(group, answer)
                case Verdict.MISSING:
                    return None
                case _:
                    return answer.retry(self._doing, writes_members=True)
        if self._instead is not None:
            return self._instead
        if self._refused and not self._accepted:
            return next(iter(self._refused.values())).retry(self._doing)
        if self._refused:
            messages = {member: reply.message for member, reply in self._refused.items()}
            return Rejected(REJECTED, messages)
        return Delivered()

    async def _narrow(self, group: list[Change], refusal: Reply) -> None:
        """Prepare the next requests after one was refused.

        Breadth first: that finds a part without offending members, which shows that the request as
        such is right, with the fewest requests.
        """
        self._refusals += 1
        if self._refusals == 1 and await self._look_for_room():
            return
        if len(group) == 1:
            self._refused[group[0][0]] = refusal
        else:
            middle = len(group) // 2
            self._groups += (group[:middle], group[middle:])
        barren = self._refusals >= MAX_REFUSALS and not self._accepted
        if barren or self._requests >= MAX_REQUESTS:
            self._give_up(refusal.retry(self._doing))

    async def _look_for_room(self) -> bool:
        """Whether the batch was refused because the segment would hold too many targets.

        What LaunchDarkly says then is not documented, so its targets are counted. Members that
        leave need no room and are still written; those that join wait.
        """
        joins = {member for member, stamp in self._changes if includes(stamp)}
        if not joins:
            return False
        found = await self._segments.look_up(self._segment)
        if isinstance(found, Retry):
            self._give_up(found)
            return True
        if found is None:  # the next request will find that out, too
            return False
        leaves = {member for member, _ in self._changes} - joins
        included = (members_of(found, "included") | joins) - leaves
        targets = len(included) + len(members_of(found, "excluded"))
        if targets <= MAX_TARGETS:
            return False
        self._give_up(
            Retry(
                RetryReason.SEGMENT_FULL,
                f"{self._doing}: it would hold {targets:,} individual targets, and LaunchDarkly "
                f"allows {MAX_TARGETS:,}. Members that left are removed, those that joined wait: "
                "narrow the audience, or free targets in the segment",
                patience=Patience.OPERATOR,
            )
        )
        if leaves:
            self._groups.append([change for change in self._changes if change[0] in leaves])
        return True

    def _give_up(self, instead: Retry) -> None:
        """Drop what was still to be sent; the batch is given back whole."""
        self._groups.clear()
        self._instead = instead

    async def _send(self, group: list[Change]) -> Answer:
        """Send one patch; again at once, a few times, if someone else changed the segment."""
        try:
            body = orjson.dumps(patch_body(self._environment_key, self._segment, group))
        except orjson.JSONEncodeError as error:
            # Half of a surrogate pair in a context key: refused here, as LaunchDarkly would.
            return Reply(400, classify(400), b"", 0.0, message=str(error), error=str(error))
        conflicts = 0
        while True:
            self._requests += 1
            answer = await self._client.request(
                "PATCH", SEGMENT_ROUTE, self._names, body, SEMANTIC_PATCH
            )
            conflict = isinstance(answer, Reply) and answer.ruling.verdict is Verdict.CONFLICT
            if not conflict or conflicts == MAX_CONFLICTS:
                return answer
            await asyncio.sleep(self._rng.uniform(0.0, _CONFLICT_JITTER * 2**conflicts))
            conflicts += 1
