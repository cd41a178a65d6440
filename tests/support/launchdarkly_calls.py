"""A bare client of the API for tests of the simulator: says what it is told, judges nothing."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Self

import aiohttp

from ldsync.demo.simulator import Simulator

SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.content)


class Calls:
    """Calls to one simulator, made as `async with Calls(sim) as calls:`."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.segments = f"/api/v2/segments/{sim.environment.project_key}/{sim.environment.key}"
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        token: str | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """Any request; `body` is sent as JSON unless it is bytes."""
        headers = {"Authorization": self.sim.token if token is None else token}
        data: bytes | None = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = content_type
        async with self._session.request(
            method,
            self.sim.url + path,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str) -> Answer:
        """A GET."""
        return await self.request("GET", path)

    async def create(self, key: str, **fields: object) -> Answer:
        """Create a segment."""
        return await self.request("POST", self.segments, {"key": key, "name": key, **fields})

    async def patch(
        self, key: str, *instructions: dict[str, object], timeout: float = 30.0, query: str = ""
    ) -> Answer:
        """A semantic patch."""
        body = {
            "environmentKey": self.sim.environment.key,
            "instructions": list(instructions),
        }
        return await self.request(
            "PATCH",
            f"{self.segments}/{key}{query}",
            body,
            content_type=SEMANTIC,
            timeout=timeout,
        )

    async def include(self, key: str, *members: str, timeout: float = 30.0) -> Answer:
        """Add included targets of kind `user`."""
        return await self.patch(key, targets("addIncludedTargets", members), timeout=timeout)


def targets(kind: str, keys: Collection[str], context_kind: str = "user") -> dict[str, object]:
    """A target instruction."""
    return {"kind": kind, "contextKind": context_kind, "values": list(keys)}
