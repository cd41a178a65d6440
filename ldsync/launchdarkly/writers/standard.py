"""Standard segments: members are individual targets, written by semantic patches.

The API's rules (launchdarkly-api contract 4): at most 1,500 target operations a request; all or
nothing; what is so already succeeds, so that writing again is harmless; two patches of one segment
at once conflict; at most 15,000 targets in a segment, of any context kinds.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.forms import StandardForm
from ldsync.launchdarkly.outcome import Delivered, Outcome, Retry, RetryReason
from ldsync.launchdarkly.reply import Reply
from ldsync.launchdarkly.request import Request
from ldsync.launchdarkly.segments import Segments, Terms
from ldsync.launchdarkly.writers.delivery import Course, Delivery
from ldsync.launchdarkly.writers.room import MAX_TARGETS, Room, members_of
from ldsync.launchdarkly.writers.semantic_patch import (
    MAX_OPERATIONS,
    control_patch,
    doubt,
    patch_requests,
)
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.launchdarkly.writers.suspects import AllSuspects
from ldsync.sync.change import Segment, includes
from ldsync.telemetry.metrics import Metrics


class StandardWriter:
    """Writes batches to standard segments, and creates the segments that are missing.

    Args:
        client: Sends the requests.
        environment: Where to; must be resolved before anything is written.
        terms: What the operator wants of segments.
        exit_action: What happens to members that leave.
        metrics: Counts the segments created, and those that are full.
        rng: Source of jitter.
    """

    max_members: Final = MAX_OPERATIONS
    writes_per_segment: Final = 1

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        terms: Terms,
        *,
        exit_action: ExitAction = ExitAction.REMOVE,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self._client = client
        self._environment = environment
        self._room = Room()
        self._segments = Segments(client, environment, StandardForm(self._room), terms, metrics)
        self._exit_action = exit_action
        self._metrics = metrics
        self._rng = rng
        self._suspects = AllSuspects()
        self._locks: WeakKeyDictionary[Segment, asyncio.Lock] = WeakKeyDictionary()
        self._full: WeakSet[Segment] = WeakSet()
        metrics.segments_full.set_function(lambda: float(len(self._full)))

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write one batch (`Writer`). Writes to one segment run one after the other (P4)."""
        if not changes:
            return Delivered()
        async with self._locks.setdefault(segment, asyncio.Lock()):
            return await self._segments.written(
                segment, frozenset(), partial(self._deliver, segment, changes)
            )

    async def _deliver(self, segment: Segment, changes: Mapping[str, str]) -> Outcome | None:
        if self._exit_action is ExitAction.EXCLUDE:
            adds = len(changes)
        else:
            adds = sum(map(includes, changes.values()))
        check = partial(self._without_room, segment, changes)
        outcome = await check() if self._room.may_lack(segment, adds) else None
        if outcome is None:
            delivery = Delivery(
                self._client,
                self._course(segment),
                changes,
                self._suspects.of(segment),
                self._rng,
                check if adds else None,
            )
            outcome = await delivery.run()
            if outcome is not None and not isinstance(outcome, Retry):
                self._full.discard(segment)
        return outcome

    def _course(self, segment: Segment) -> Course:
        environment, exit_action = self._environment, self._exit_action
        return Course(
            segment,
            build=lambda changes: patch_requests(
                environment.project_key, environment.environment_key, segment, changes, exit_action
            ),
            phases=1 if exit_action is ExitAction.REMOVE else 2,
            control=control_patch,
            doubt=partial(self._doubt, segment),
            max_members=MAX_OPERATIONS,
        )

    def _doubt(self, segment: Segment, reply: Reply, request: Request) -> str:
        """What is wrong with a reply; if nothing is, it says how many targets there are."""
        finding = doubt(reply, request)
        if not finding:
            self._room.note(segment, reply)
        return finding

    async def _without_room(self, segment: Segment, changes: Mapping[str, str]) -> Outcome | None:
        """Write what a segment without room for a batch can take; None if it has room for all.

        Who leaves makes room and is taken out, which is the first request of any batch; who joins
        waits.
        """
        found = await self._segments.look_up(segment)
        if isinstance(found, Retry):
            return found
        if found is None:  # the next request will find that out, too
            return None
        self._room.note_document(segment, found)
        joins = {member for member, stamp in changes.items() if includes(stamp)}
        leaves = changes.keys() - joins
        included = (members_of(found, "included") | joins) - leaves
        excluded = members_of(found, "excluded")
        if self._exit_action is ExitAction.EXCLUDE:
            excluded = (excluded - joins) | leaves
        targets = len(included) + len(excluded)
        if targets <= MAX_TARGETS:
            return None
        self._full.add(segment)
        if leaves:
            outcome = await self._remove(segment, {member: changes[member] for member in leaves})
            if outcome is None or isinstance(outcome, Retry):
                return outcome
        return Retry(
            RetryReason.SEGMENT_FULL,
            f"writing to segment {segment.key}: it would hold {targets:,} individual targets, and "
            f"LaunchDarkly allows {MAX_TARGETS:,}. Members that left are removed, those that "
            "joined wait until there is room. A big segment has no such limit: delete this one and "
            'set launchdarkly.write_path = "big", which needs a plan with big segments and makes '
            "ldsync create it anew; or narrow the audience, or free targets in the segment",
        )

    async def _remove(self, segment: Segment, leaves: Mapping[str, str]) -> Outcome | None:
        """Take members out of the included ones; nothing that would need room."""
        course = self._course(segment)
        return await Delivery(
            self._client,
            replace(course, phases=1),
            leaves,
            self._suspects.of(segment),
            self._rng,
        ).run()
