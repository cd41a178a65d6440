"""Synced segments: members are written as Segment's own destination writes them (contract 8).

LaunchDarkly creates the segment when it first hears of the cohort, which is the audience id; it has
one context kind. Nobody else can change its members.
"""

import random
from collections.abc import Mapping
from functools import partial

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.outcome import Delivered, Outcome, Patience, Retry, RetryReason, Scope
from ldsync.launchdarkly.writers.big import DEFAULT_MEMBERS, DEFAULT_WRITES
from ldsync.launchdarkly.writers.big_contexts import doubt
from ldsync.launchdarkly.writers.delivery import Course, Delivery
from ldsync.launchdarkly.writers.one_kind import delivered_of_kind, fix_kind
from ldsync.launchdarkly.writers.segment_targets import control_call, targets_requests
from ldsync.launchdarkly.writers.suspects import AllSuspects
from ldsync.sync.change import Segment


class SyncedWriter:
    """Writes batches to synced segments.

    Args:
        client: Sends the requests.
        environment: Where to; its client-side ID is all that is needed.
        max_members: Members in one request.
        writes_per_segment: Requests for one segment at a time.
        rng: Source of jitter.
    """

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        *,
        max_members: int = DEFAULT_MEMBERS,
        writes_per_segment: int = DEFAULT_WRITES,
        rng: random.Random,
    ) -> None:
        self.max_members = max_members
        self.writes_per_segment = writes_per_segment
        self._client = client
        self._environment = environment
        self._rng = rng
        self._suspects = AllSuspects()

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write one batch (`Writer`). Members of another context kind are rejected."""
        if not changes:
            return Delivered()
        fix_kind(segment, changes)
        outcome = await delivered_of_kind(segment, changes, partial(self._deliver, segment))
        return outcome or Retry(
            RetryReason.NOT_FOUND,
            f"writing to synced segment {segment.key}: LaunchDarkly does not know the address; "
            "every write waits. Check launchdarkly.base_url, and that the account has synced "
            'segments; launchdarkly.write_path = "standard" works with any',
            scope=Scope.EVERYTHING,
            patience=Patience.OPERATOR,
        )

    async def _deliver(self, segment: Segment, changes: Mapping[str, str]) -> Outcome | None:
        course = Course(
            segment,
            build=lambda group: targets_requests(self._environment.client_side_id, segment, group),
            phases=1,
            control=control_call,
            doubt=doubt,
            max_members=self.max_members,
        )
        suspects = self._suspects.of(segment)
        return await Delivery(self._client, course, changes, suspects, self._rng).run()
