"""One way to Redis: runs scripts, each under a time limit, and tells all trouble as one exception.

In a cluster everything that ldsync keeps is in one slot (`scripts`), so there is nothing to route:
the node that has the slot is found by following one redirection, and lost by going back to the
configured address when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions as errors
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ldsync.versions.base import StoreTrouble, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

_ADVICE: Final = {
    StoreTrouble.TIMEOUT: "check that Redis is up and not overloaded",
    StoreTrouble.CONNECTION: "check ordering.redis_url, the network and, with rediss://, the "
    "certificates",
    StoreTrouble.AUTH: "check user and password in ordering.redis_url, and that the user may run "
    "scripts, INFO, TIME and commands on hashes for keys that begin with ldsync:",
    StoreTrouble.REFUSED: "look at the log and the configuration of Redis",
}


class RedisConnection:
    """Runs scripts on the Redis at `url`.

    No call takes more than `timeout` seconds. No message contains the URL, which holds a password.
    """

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare; nothing is connected yet."""
        self._url = url
        self._timeout = timeout
        self._client = self._connect()
        self._redirected = False
        self._calls: Counter[Redis] = Counter()

    def _connect(self, **node: str | int) -> Redis:
        client = Redis.from_url(
            self._url,
            protocol=2,
            socket_connect_timeout=self._timeout,
            # Once more, at once: a connection that was idle may have been closed on the way.
            retry=Retry(NoBackoff(), 1),
            # Or it would look its own version up on disk, while the event loop waits.
            driver_info=None,
        )
        # As arguments of `from_url` those in the URL would win. The time is limited here: with a
        # limit of its own the client sends by `asyncio.wait_for`, in which Python 3.11 can lose a
        # cancellation, and who is told to end goes on for ever.
        client.connection_pool.connection_kwargs.update(node, socket_timeout=None)
        return client

    async def run(self, script: str, keys: Sequence[str], *args: str | int | bytes) -> Any:
        """Run a script and return its answer.

        Raises:
            StoreUnavailable: it has no answer; the script may have run.
        """
        return await self._within_time(self._run(script, keys, args))

    async def info(self) -> dict[str, Any]:
        """Return what Redis says about itself.

        Raises:
            StoreUnavailable: it has no answer.
        """
        return dict(await self._within_time(self._client.info()))

    async def _within_time(self, answer: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except (errors.ConnectionError, errors.TimeoutError, OSError) as error:
            await self._go_back()
            raise self._unavailable(error) from error
        except errors.RedisError as error:
            raise self._unavailable(error) from error

    async def _run(
        self, script: str, keys: Sequence[str], args: Sequence[str | int | bytes]
    ) -> Any:
        client = self._client
        try:
            return await self._call(client, script, keys, args)
        except errors.MovedError as moved:
            if client is self._client:
                self._client = self._connect(host=moved.host, port=moved.port)
                self._redirected = True
                await self._leave(client)
            return await self._call(self._client, script, keys, args)

    async def _call(
        self, client: Redis, script: str, keys: Sequence[str], args: Sequence[str | int | bytes]
    ) -> Any:
        self._calls[client] += 1
        try:
            return await client.register_script(script)(keys=keys, args=args)
        finally:
            self._calls[client] -= 1
            await self._leave(client)

    async def _leave(self, client: Redis) -> None:
        """Close the connections to a node that was left, once nothing is asked of it any more.

        Closed before, it would connect again for the calls that are under way.
        """
        if client is not self._client and not self._calls[client]:
            del self._calls[client]
            await _close(client)

    async def _go_back(self) -> None:
        """Ask the configured address where the slot is: the node that had it may be gone."""
        if self._redirected:
            client, self._client = self._client, self._connect()
            self._redirected = False
            await self._leave(client)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        if isinstance(
            error, errors.AuthenticationError | errors.AuthorizationError | errors.NoPermissionError
        ):
            trouble, said = StoreTrouble.AUTH, f"refuses ldsync ({error})"
        elif isinstance(error, errors.TimeoutError | TimeoutError):
            trouble, said = StoreTrouble.TIMEOUT, f"did not answer within {self._timeout:g} s"
        elif isinstance(error, errors.ConnectionError | OSError):
            trouble, said = StoreTrouble.CONNECTION, f"cannot be reached ({error})"
        else:
            trouble, said = StoreTrouble.REFUSED, f"refuses what it is asked ({error})"
        return StoreUnavailable(
            trouble, f"Redis {said}; nothing is written meanwhile: {_ADVICE[trouble]}"
        )

    async def close(self) -> None:
        """Close all connections."""
        await _close(self._client)


async def _close(client: Redis) -> None:
    with contextlib.suppress(errors.RedisError, OSError):
        await client.aclose()
