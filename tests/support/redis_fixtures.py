"""The pytest fixtures of the suites on a real Redis; test files import them from here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.real_redis import RealRedis, running


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRedis]:
    """One server for the tests of a file that do no harm to it."""
    with running(RealRedis(tmp_path_factory.mktemp("redis"))) as redis:
        yield redis


@pytest.fixture
def redis(shared_redis: RealRedis) -> RealRedis:
    """That server, empty."""
    shared_redis.client.flushall()
    return shared_redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RealRedis]:
    """A server of the test's own, to do harm to."""
    with running(RealRedis(tmp_path / "redis")) as redis:
        yield redis
