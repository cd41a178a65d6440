"""Big segments: members are written to a list of their own, of any size (contract 5).

Replies are 204 or an error; who is in is not shown. A segment has one context kind, fixed when it
is created. Requests for one segment with different members do not conflict, so that several may be
on their way: the first synchronisation of a huge audience is not bound to one request at a time.
"""

import random
from collections.abc import Mapping
from functools import partial
from typing import Final

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.forms import BigForm
from ldsync.launchdarkly.outcome import Delivered, Outcome
from ldsync.launchdarkly.segments import Segments, Terms
from ldsync.launchdarkly.writers.big_contexts import contexts_requests, control_call, doubt
from ldsync.launchdarkly.writers.delivery import Course, Delivery
from ldsync.launchdarkly.writers.one_kind import delivered_of_kind, fix_kind
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.launchdarkly.writers.suspects import AllSuspects
from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics

DEFAULT_MEMBERS: Final = 1_000
"""Members in one request: no limit is documented, and others stop there (contract 5.1)."""

DEFAULT_WRITES: Final = 4
"""Requests for one segment at a time."""


class BigWriter:
    """Writes batches to big segments, and creates the segments that are missing.

    Args:
        client: Sends the requests.
        environment: Where to.
        terms: What the operator wants of segments.
        exit_action: What happens to members that leave.
        max_members: Members in one request.
        writes_per_segment: Requests for one segment at a time.
        metrics: Counts the segments created.
        rng: Source of jitter.
    """

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        terms: Terms,
        *,
        exit_action: ExitAction = ExitAction.REMOVE,
        max_members: int = DEFAULT_MEMBERS,
        writes_per_segment: int = DEFAULT_WRITES,
        metrics: Metrics,
        rng: random.Random,
    ) -> None:
        self.max_members = max_members
        self.writes_per_segment = writes_per_segment
        self._client = client
        self._environment = environment
        self._segments = Segments(client, environment, BigForm(), terms, metrics)
        self._exit_action = exit_action
        self._rng = rng
        self._suspects = AllSuspects()

    async def write(self, segment: Segment, changes: Mapping[str, str]) -> Outcome:
        """Write one batch (`Writer`). Members of another context kind are rejected."""
        if not changes:
            return Delivered()
        fix_kind(segment, changes)
        kinds = {member.partition("/")[0] for member in changes}
        deliver = partial(self._deliver, segment)
        return await self._segments.written(
            segment, kinds, lambda: delivered_of_kind(segment, changes, deliver)
        )

    async def _deliver(self, segment: Segment, changes: Mapping[str, str]) -> Outcome | None:
        environment, exit_action = self._environment, self._exit_action
        course = Course(
            segment,
            build=lambda group: contexts_requests(
                environment.project_key, environment.environment_key, segment, group, exit_action
            ),
            phases=1 if exit_action is ExitAction.REMOVE else 2,
            control=control_call,
            doubt=doubt,
            max_members=self.max_members,
        )
        suspects = self._suspects.of(segment)
        return await Delivery(self._client, course, changes, suspects, self._rng).run()
