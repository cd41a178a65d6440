"""A standard writer and the simulator it writes to, for tests of either's behaviour together."""

import json
import random
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import jsonschema

from ldsync.demo.simulator import Exchange, Limits, Simulator
from ldsync.launchdarkly.client import SEMANTIC_PATCH, LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.outcome import Outcome, Retry
from ldsync.launchdarkly.pacing import Pacing
from ldsync.launchdarkly.token import Token
from ldsync.launchdarkly.writers.standard import StandardWriter
from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics
from tests.support import launchdarkly_openapi as openapi
from tests.support.launchdarkly_openapi import Operation
from tests.support.semantic_patch import SCHEMA

TOKEN = "api-22222222-test"
VERSION = "2026-11-24T20:00:00.000Z"
VIP = Segment(key="vip", name="Vip buyers", audience_id="aud_2QZ", audience_key="vip")
CREATE = Operation("POST", "/api/v2/segments/{projectKey}/{environmentKey}")


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
        adopt: str = "tagged",
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
        self.writer = StandardWriter(
            self.client,
            Environment("p", environment),
            tags=["ldsync", "engage"],
            adopt=adopt,
            metrics=self.metrics,
            rng=random.Random(1),
        )

    @staticmethod
    def now() -> float:
        """Monotonic seconds, as the gate counts them."""
        return time.monotonic()

    async def write(self, changes: dict[str, str], segment: Segment = VIP) -> Outcome:
        """Write a batch."""
        return await self.writer.write(segment, changes)

    async def waits(self, changes: dict[str, str], segment: Segment = VIP) -> Retry:
        """Write a batch that has to wait."""
        outcome = await self.write(changes, segment)
        assert isinstance(outcome, Retry), outcome
        return outcome

    @property
    def routes(self) -> list[str]:
        """The requests so far, by the names of their operations."""
        return [exchange.route for exchange in self.sim.requests]

    @property
    def created(self) -> float:
        """The counter of segments created."""
        return self.metrics.registry.get_sample_value("ldsync_segments_created_total") or 0.0


@asynccontextmanager
async def desk(
    *, adopt: str = "tagged", timeout_seconds: float = 10.0, limits: Limits | None = None
) -> AsyncIterator[Desk]:
    """A simulator and a desk. At the end every request is held against the documented form."""
    async with Simulator(
        project="p", environment="e", token=TOKEN, keep_bodies=True, limits=limits
    ) as sim:
        made = Desk(sim, adopt=adopt, timeout_seconds=timeout_seconds)
        async with made.client:
            yield made
        check_requests(sim.requests)


def check_requests(exchanges: Iterable[Exchange]) -> None:
    """Hold requests against LaunchDarkly's OpenAPI document, and patches against its prose.

    Raises:
        AssertionError, jsonschema.ValidationError: A request is not of the documented form.
    """
    for exchange in exchanges:
        assert exchange.headers["ld-api-version"] == "20240415"
        match exchange.method:
            case "POST":
                content_type = exchange.headers["content-type"]
                openapi.check_request(CREATE, content_type, exchange.body or b"")
            case "PATCH":
                assert exchange.headers["content-type"] == SEMANTIC_PATCH
                patch = json.loads(exchange.body or b"")
                jsonschema.validate(patch, SCHEMA)
                assert sum(len(each["values"]) for each in patch["instructions"]) <= 1_500
            case _:
                assert exchange.method == "GET"
                assert not exchange.body
