"""A writer and the simulator it writes to, for tests of either's behaviour together."""

import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jsonschema

from ldsync.demo.simulator import Exchange, Limits, Side, Simulator
from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.outcome import Outcome, Retry
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.request import SEMANTIC_PATCH
from ldsync.launchdarkly.segments import Adopt, Terms
from ldsync.launchdarkly.token import Token
from ldsync.launchdarkly.writers.big import BigWriter
from ldsync.launchdarkly.writers.semantic_patch import MAX_OPERATIONS
from ldsync.launchdarkly.writers.sides import ExitAction
from ldsync.launchdarkly.writers.standard import StandardWriter
from ldsync.launchdarkly.writers.synced import SyncedWriter
from ldsync.launchdarkly.writers.writer import Writer
from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics
from tests.support import launchdarkly_openapi as openapi
from tests.support.launchdarkly_openapi import Operation
from tests.support.segment_targets import SCHEMA as TARGETS
from tests.support.semantic_patch import SCHEMA

TOKEN = "api-22222222-test"
VERSION = "2026-11-24T20:00:00.000Z"
CREATE = Operation("POST", "/api/v2/segments/{projectKey}/{environmentKey}")
CONTEXTS = Operation("POST", f"{CREATE.template}/{{segmentKey}}/contexts")

#: The operation that writes members, by write path.
ROUTES = {"standard": "patch_segment", "big": "update_contexts", "synced": "sync_targets"}


def vip() -> Segment:
    """A segment that nothing is known of yet."""
    return Segment(key="vip", name="Vip buyers", audience_id="aud_2QZ", audience_key="vip")


def ins(*keys: str) -> dict[str, str]:
    """Changes that put users in."""
    return {f"user/{key}": f"{VERSION}+" for key in keys}


def outs(*keys: str) -> dict[str, str]:
    """Changes that put users out."""
    return {f"user/{key}": f"{VERSION}-" for key in keys}


def users(count: int, first: int = 0) -> list[str]:
    """Context keys."""
    return [f"u-{number:06d}" for number in range(first, first + count)]


class Desk:
    """One process: a client, a writer, and what they are judged by."""

    def __init__(
        self,
        sim: Simulator,
        *,
        path: str = "standard",
        adopt: str = "tagged",
        exit_action: ExitAction = ExitAction.REMOVE,
        view_keys: Sequence[str] = (),
        create: bool = True,
        recreate: bool = True,
        max_members: int = 1_000,
        timeout_seconds: float = 10.0,
        environment: str = "e",
        token: str | Token = TOKEN,
        url: str | None = None,
    ) -> None:
        self.sim = sim
        self.metrics = Metrics()
        self.pacing = Pacing(budget_share=0.5, rng=random.Random(1))
        self.client = LaunchDarklyClient(
            url or sim.url,
            token,
            timeout_seconds=timeout_seconds,
            max_in_flight=8,
            pacing=self.pacing,
            metrics=self.metrics,
        )
        terms = Terms(["ldsync", "engage"], Adopt(adopt), view_keys, create, recreate)
        self.vip = vip()
        self.write_route = ROUTES[path]
        self.writer = self._writer(
            path, Environment("p", environment, sim.client_side_id), terms, exit_action, max_members
        )

    def _writer(
        self,
        path: str,
        environment: Environment,
        terms: Terms,
        exit_action: ExitAction,
        max_members: int,
    ) -> Writer:
        rng = random.Random(1)
        if path == "synced":
            return SyncedWriter(self.client, environment, max_members=max_members, rng=rng)
        if path == "big":
            return BigWriter(
                self.client,
                environment,
                terms,
                exit_action=exit_action,
                max_members=max_members,
                metrics=self.metrics,
                rng=rng,
            )
        return StandardWriter(
            self.client,
            environment,
            terms,
            exit_action=exit_action,
            metrics=self.metrics,
            rng=rng,
        )

    async def write(self, changes: dict[str, str], segment: Segment | None = None) -> Outcome:
        """Write a batch."""
        return await self.writer.write(segment or self.vip, changes)

    @staticmethod
    def now() -> float:
        """Monotonic seconds, as the gate counts them."""
        return time.monotonic()

    async def waits(self, changes: dict[str, str], segment: Segment | None = None) -> Retry:
        """Write a batch that has to wait."""
        outcome = await self.write(changes, segment)
        assert isinstance(outcome, Retry), outcome
        return outcome

    @property
    def routes(self) -> list[str]:
        """The requests so far, by the names of their operations."""
        return [exchange.route for exchange in self.sim.requests]

    @property
    def segment_key(self) -> str:
        """What the simulator knows the segment by."""
        synced = self.write_route == ROUTES["synced"]
        return f"segment-audiences-{self.vip.audience_id}" if synced else self.vip.key

    def included(self, kind: str = "user") -> set[str]:
        """The included members of the segment."""
        return self.sim.included(self.segment_key, kind)

    def excluded(self, kind: str = "user") -> set[str]:
        """The excluded members of the segment."""
        segment = self.sim.segments[self.segment_key]
        return set(segment.membership.keys(Side.EXCLUDED, kind))

    @property
    def writes(self) -> int:
        """How many requests so far were about members."""
        return self.routes.count(self.write_route)

    @property
    def created(self) -> float:
        """The counter of segments created."""
        return self.metrics.registry.get_sample_value("ldsync_segments_created_total") or 0.0


@asynccontextmanager
async def desk(*, limits: Limits | None = None, **options: Any) -> AsyncIterator[Desk]:
    """A simulator and a desk. At the end every request is held against the documented form."""
    async with Simulator(
        project="p", environment="e", token=TOKEN, keep_bodies=True, limits=limits
    ) as sim:
        made = Desk(sim, **options)
        async with made.client:
            yield made
        check_requests(sim.requests)


def check_requests(exchanges: Iterable[Exchange]) -> None:
    """Hold requests against LaunchDarkly's OpenAPI document, and against its prose what that lacks.

    Raises:
        AssertionError, jsonschema.ValidationError: A request is not of the documented form.
    """
    for exchange in exchanges:
        assert exchange.headers["ld-api-version"] == "20240415"
        body, content_type = exchange.body or b"", exchange.headers.get("content-type", "")
        match exchange.route:
            case "create_segment":
                document = json.loads(body)
                document.pop("viewKeys", None)  # works, but is no part of the document
                openapi.check_request(CREATE, content_type, json.dumps(document).encode())
            case "update_contexts":
                openapi.check_request(CONTEXTS, content_type, body)
            case "sync_targets":
                assert content_type == "application/json"
                jsonschema.validate(json.loads(body), TARGETS)
            case "patch_segment":
                assert content_type == SEMANTIC_PATCH
                patch = json.loads(body)
                jsonschema.validate(patch, SCHEMA)
                counts = [len(each["values"]) for each in patch["instructions"]]
                assert sum(counts) <= MAX_OPERATIONS
                keys = [
                    (each["contextKind"], key)
                    for each in patch["instructions"]
                    for key in each["values"]
                ]
                assert len(set(keys)) == len(keys), "a key is in two instructions"
            case _:
                assert exchange.method == "GET"
                assert not body
