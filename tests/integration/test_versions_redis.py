"""The version store in Redis: what replicas see of each other, and what is done when it fails."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis.crc import key_slot
from structlog.testing import capture_logs

from ldsync.checks.finding import State
from ldsync.checks.ordering import check_ordering
from ldsync.config import OrderingSettings, Settings
from ldsync.telemetry.metrics import Metrics
from ldsync.versions import scripts
from ldsync.versions.base import StoreState, StoreUnavailable
from ldsync.versions.redis import RedisVersions
from tests.support.certificates import make_certificates
from tests.support.core import segment, stamp
from tests.support.eventually import eventually
from tests.support.ports import unused_port
from tests.support.real_redis import RealRedis, running
from tests.support.redis_fixtures import own_redis, redis, shared_redis

__all__ = ["own_redis", "redis", "shared_redis"]

pytestmark = pytest.mark.redis

VIP = segment("vip")
STATE = "ldsync:1:{p/e}:state"
NEVER = None  # nobody but `mark_warm` declares it warm

Open = Callable[..., RedisVersions]


@pytest.fixture
async def open_store() -> AsyncIterator[Open]:
    """Make stores on a Redis: as many as there are replicas."""
    stores = []

    def make(
        server: RealRedis,
        *,
        url: str = "",
        retention: float = 3600.0,
        timeout: float = 2.0,
        warm_after: float | None = 0.0,
    ) -> RedisVersions:
        store = RedisVersions(
            url or server.url,
            "p/e",
            retention=retention,
            timeout=timeout,
            warm_after=warm_after,
            metrics=Metrics(),
        )
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.close()


def errors_of(store: RedisVersions, reason: str) -> float:
    """How many errors were counted for a reason."""
    registry = store._metrics.registry  # noqa: SLF001
    name = "ldsync_version_store_errors_total"
    return registry.get_sample_value(name, {"reason": reason}) or 0.0


def state_of(store: RedisVersions) -> StoreState:
    """Whether it can be relied on, now."""
    return store.state


async def merged(store: RedisVersions, changes: dict[str, str]) -> dict[str, str]:
    """What becomes of a copy of changes that are about to be written."""
    changes = dict(changes)
    await store.merge(VIP, changes, time.monotonic())
    return changes


# --- replicas ---------------------------------------------------------------------------------


async def test_what_one_replica_marks_another_writes(redis: RealRedis, open_store: Open) -> None:
    """R6 across processes, and across restarts of a process."""
    one, other = open_store(redis), open_store(redis)
    await one.look()
    await other.look()
    assert await merged(one, {"a": stamp(5)}) == {"a": stamp(5)}
    assert await merged(other, {"a": stamp(3, "-")}) == {"a": stamp(5)}
    again = open_store(redis, warm_after=NEVER)
    await again.look()
    assert again.state is StoreState.UP
    assert await merged(again, {"a": stamp(4, "-")}) == {"a": stamp(5)}


async def test_what_was_marked_newer_during_a_write_is_written_again(
    redis: RealRedis, open_store: Open
) -> None:
    """R7: only those members, and until nothing newer is marked."""
    one, other = open_store(redis), open_store(redis)
    await one.look()
    await other.look()
    mine = await merged(one, {"a": stamp(1), "b": stamp(1), "c": stamp(1)})
    await merged(other, {"a": stamp(2, "-"), "c": stamp(0, "-")})
    assert set(await one.confirm(VIP, mine)) == {"a"}
    assert mine == {"a": stamp(2, "-"), "b": stamp(1), "c": stamp(1)}
    await merged(other, {"a": stamp(3)})
    assert set(await one.confirm(VIP, {"a": mine["a"]})) == {"a"}
    assert set(await one.confirm(VIP, {"a": stamp(3)})) == set()


async def test_of_a_tie_between_replicas_the_one_marked_last_is_written_by_both(
    redis: RealRedis, open_store: Open
) -> None:
    """Undefined which; but both write the same in the end, and neither marks it over and over."""
    one, other = open_store(redis), open_store(redis)
    await one.look()
    await other.look()
    first = await merged(one, {"a": stamp(5, "+")})
    second = await merged(other, {"a": stamp(5, "-")})
    assert set(await one.confirm(VIP, first)) == {"a"}
    assert first == {"a": stamp(5, "-")}
    assert not await other.confirm(VIP, second)
    assert not await one.confirm(VIP, first)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda keys, client: client.delete(*keys), id="gone"),
        pytest.param(
            lambda keys, client: [client.hset(key, "a", stamp(1)) for key in keys], id="older"
        ),
    ],
)
async def test_a_mark_that_was_lost_is_set_again_and_its_change_written_again(
    redis: RealRedis, open_store: Open, damage: Callable[..., object]
) -> None:
    """Another replica may have written something older meanwhile."""
    store = open_store(redis)
    await store.look()
    mine = await merged(store, {"a": stamp(5)})
    damage(store.keys(VIP)[1:], redis.client)
    assert set(await store.confirm(VIP, mine)) == {"a"}
    assert mine == {"a": stamp(5)}
    assert not await store.confirm(VIP, mine)


async def test_environments_on_one_redis_do_not_mind_each_other(
    redis: RealRedis, open_store: Open
) -> None:
    """The key has the project and the environment."""
    here = open_store(redis)
    there = RedisVersions(
        redis.url, "p/other", retention=60.0, timeout=2.0, warm_after=0.0, metrics=Metrics()
    )
    try:
        await here.look()
        await there.look()
        await merged(here, {"a": stamp(5)})
        assert await merged(there, {"a": stamp(1)}) == {"a": stamp(1)}
    finally:
        await there.close()


# --- what is kept -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["vip", "with space", "{tag}", "a}b{c", "x" * 300])
def test_all_keys_of_an_environment_are_in_one_slot(key: str) -> None:
    """Redis Cluster runs a script only where all its keys are, whatever a segment is called."""
    store = RedisVersions(
        "redis://h", "shop/prod", retention=1.0, timeout=1.0, warm_after=None, metrics=Metrics()
    )
    keys = store.keys(segment(key))
    assert len(set(keys)) == 3
    assert {key_slot(each.encode()) for each in keys} == {key_slot(b"shop/prod")}


async def test_a_mark_is_remembered_for_the_retention(redis: RealRedis, open_store: Open) -> None:
    """A generation that is old enough becomes the old one; what was only in that is forgotten."""
    store = open_store(redis, retention=100.0)
    await store.look()

    def age(seconds: int) -> None:
        """Let both generations have begun so much earlier."""
        for key in store.keys(VIP)[1:]:
            if since := redis.client.hget(key, ""):
                redis.client.hset(key, "", int(since) - seconds)

    await merged(store, {"a": stamp(5), "b": stamp(5)})
    age(99)
    assert await merged(store, {"c": stamp(1), "a": stamp(1)}) == {"c": stamp(1), "a": stamp(5)}
    age(2)
    assert await merged(store, {"a": stamp(2)}) == {"a": stamp(5)}  # the old one knows it still
    age(101)
    assert await merged(store, {"a": stamp(3)}) == {"a": stamp(5)}  # it was marked again then
    assert await merged(store, {"b": stamp(3)}) == {"b": stamp(3)}  # it was not
    assert sum(redis.client.hlen(key) for key in store.keys(VIP)[1:]) <= 6


async def test_marks_expire_by_themselves(redis: RealRedis, open_store: Open) -> None:
    """Of a segment that nobody writes to any more nothing stays; the state does."""
    store = open_store(redis, retention=99.5)
    await store.look()
    await merged(store, {"a": stamp(5)})
    lifetimes = [redis.client.ttl(key) for key in store.keys(VIP)]
    assert sorted(lifetimes)[:2] == [-2, -1]  # there is no old generation, and the state stays
    assert 190 < max(lifetimes) <= 200


async def test_the_horizon_grows_up_to_the_retention(redis: RealRedis, open_store: Open) -> None:
    """It says what the metric says; how many members there are is not known."""
    store = open_store(redis, retention=50.0)
    assert store.horizon(time.monotonic()) == 0.0
    await store.look()
    assert store.horizon(time.monotonic()) < 5.0
    assert store.horizon(time.monotonic() + 1000.0) == 50.0
    assert math.isnan(store.entries)


# --- cold -------------------------------------------------------------------------------------


async def test_an_empty_store_is_cold_until_history_was_noted(
    redis: RealRedis, open_store: Open
) -> None:
    """R7: no writes, but notes; then all replicas may write."""
    one, other = (open_store(redis, warm_after=NEVER) for _ in range(2))
    await one.look()
    await other.look()
    for store in (one, other):
        assert state_of(store) is StoreState.COLD
        assert "lost, or are new" in store.problem
        with pytest.raises(StoreUnavailable):
            await store.merge(VIP, {"a": stamp(1)}, 0.0)
    await one.note(VIP, {"a": stamp(5)}, 0.0)
    await one.mark_warm(120.0, 0.0)
    await one.look()
    await other.look()
    assert state_of(one) is state_of(other) is StoreState.UP
    assert 115.0 <= other.horizon(time.monotonic()) <= 125.0
    assert await merged(other, {"a": stamp(1)}) == {"a": stamp(5)}


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda server: server.client.flushall(), id="emptied"),
        pytest.param(lambda server: server.restart(), id="restarted"),
        pytest.param(
            lambda server: server.client.hset(STATE, "server", "another"), id="another_node"
        ),
    ],
)
async def test_lost_marks_are_noticed_by_the_next_request_and_make_the_store_cold(
    own_redis: RealRedis, open_store: Open, lose: Callable[[RealRedis], object]
) -> None:
    """R7: not only by the next look; the generation is asked for by the script that marks."""
    store = open_store(own_redis, warm_after=NEVER)
    await store.look()
    await store.mark_warm(0.0, 0.0)
    await store.look()
    mine = await merged(store, {"a": stamp(5)})
    lose(own_redis)
    with pytest.raises(StoreUnavailable, match="were lost"):
        await store.confirm(VIP, mine)
    assert state_of(store) is StoreState.COLD
    with pytest.raises(StoreUnavailable, match="were lost"):
        await store.merge(VIP, {"a": stamp(6)}, 0.0)
    with pytest.raises(StoreUnavailable, match="were lost"):
        await store.mark_warm(0.0, 0.0)  # history that was noted before does not count
    with capture_logs() as logs:
        await store.look()
    assert [entry["event"] for entry in logs] == ["ordering.marks_lost"]
    assert state_of(store) is StoreState.COLD
    assert errors_of(store, "lost") == 4.0


async def test_a_process_that_starts_after_the_loss_finds_the_store_cold(
    own_redis: RealRedis, open_store: Open
) -> None:
    """Redis itself remembers that nobody has read history since."""
    before = open_store(own_redis)
    await before.look()
    own_redis.restart()
    await before.look()
    assert before.state is StoreState.UP  # assumed, by this process
    own_redis.restart()
    after = open_store(own_redis, warm_after=NEVER)
    await after.look()
    assert after.state is StoreState.COLD


async def test_a_cold_store_is_used_after_the_settle_time_with_a_warning(
    redis: RealRedis, open_store: Open
) -> None:
    """Until history is read again (R5): by then nothing sent before can be applied any more."""
    store = open_store(redis, warm_after=0.2)
    with capture_logs() as logs:
        watching = asyncio.create_task(store.watch())
        started = time.monotonic()
        await eventually(lambda: store.state is StoreState.COLD, "it is cold", pause=0.005)
        await eventually(lambda: store.state is StoreState.UP, "it is up")
        assert time.monotonic() - started >= 0.2
        watching.cancel()
        await asyncio.wait({watching})
    events = [entry["event"] for entry in logs]
    assert events == ["ordering.store_cold", "ordering.assumed_warm", "ordering.store_up"]
    registry = store._metrics.registry  # noqa: SLF001
    assert registry.get_sample_value("ldsync_version_store_assumed_warm_total") == 1.0


# --- down -------------------------------------------------------------------------------------


async def test_a_redis_that_is_away_is_down_and_up_again_promptly(
    own_redis: RealRedis, open_store: Open
) -> None:
    """Said once, with what to do; and asked for again twice a second."""
    store = open_store(own_redis)
    assert state_of(store) is StoreState.DOWN
    assert store.problem
    await store.look()
    own_redis.kill()
    with capture_logs() as logs:
        watching = asyncio.create_task(store.watch())
        await eventually(lambda: errors_of(store, "connection") >= 3.0, "it was asked often")
        assert state_of(store) is StoreState.DOWN
        assert "cannot be reached" in store.problem
        own_redis.start()
        await eventually(lambda: store.state is StoreState.UP, "it is up", limit=2.0)
        watching.cancel()
        await asyncio.wait({watching})
    assert [entry["event"] for entry in logs][:2] == ["ordering.store_down", "ordering.marks_lost"]


async def test_a_redis_that_does_not_answer_is_given_up_in_time(
    own_redis: RealRedis, open_store: Open
) -> None:
    """Frozen, connections open: a request takes its time-out and no longer, a connection is new."""
    store = open_store(own_redis, timeout=0.3)
    await store.look()
    with own_redis.frozen():
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.3 s"):
            await store.merge(VIP, {"a": stamp(1)}, 0.0)
        assert time.monotonic() - started < 1.0
        assert state_of(store) is StoreState.DOWN
        await store.look()
        assert state_of(store) is StoreState.DOWN
    await eventually(lambda: _looks_up(store), "it is up again")
    assert errors_of(store, "timeout") >= 2.0
    assert errors_of(store, "lost") == 0.0
    assert await merged(store, {"a": stamp(0)}) in ({"a": stamp(0)}, {"a": stamp(1)})


async def _looks_up(store: RedisVersions) -> bool:
    await store.look()
    return store.state is StoreState.UP


async def test_a_request_that_is_cancelled_leaves_no_answer_for_the_next(
    own_redis: RealRedis, open_store: Open
) -> None:
    """Its answer must not be taken for that of another request."""
    store = open_store(own_redis)
    await store.look()
    await merged(store, {"a": stamp(9)})
    for _ in range(20):
        task = asyncio.create_task(store.merge(VIP, {"a": stamp(1)}, 0.0))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        assert await merged(store, {"b": stamp(1)}) == {"b": stamp(1)}


@pytest.mark.parametrize("query", ["", "?socket_timeout=2"])
async def test_no_cancellation_is_lost_in_a_request(
    redis: RealRedis, open_store: Open, query: str
) -> None:
    """At whatever moment it comes: who is told to end would go on otherwise, and for ever."""
    store = open_store(redis, url=redis.url + query)
    await store.look()
    for turns in range(60):
        looking = asyncio.create_task(store.look())
        for _ in range(turns):
            await asyncio.sleep(0)
        asked = looking.cancel()
        await asyncio.wait({looking})
        assert looking.cancelled() is asked, turns


async def test_a_redis_that_takes_no_writes_is_down(own_redis: RealRedis, open_store: Open) -> None:
    """Full, with noeviction: no mark, no write."""
    store = open_store(own_redis)
    await store.look()
    await merged(store, {"a": stamp(0)})
    own_redis.client.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="maxmemory"):
        await store.merge(VIP, {"a": stamp(1)}, 0.0)
    await store.look()
    assert state_of(store) is StoreState.DOWN
    own_redis.client.config_set("maxmemory", "0")
    await store.look()
    assert state_of(store) is StoreState.UP


PASSWORD = "s3cret!%/ word"
WRONG = "another-wrong-one"


async def test_a_wrong_password_is_said_and_never_shown(tmp_path: Path, open_store: Open) -> None:
    """P8: neither the given one nor the address that holds it."""
    with running(RealRedis(tmp_path, password="right")) as server, capture_logs() as logs:
        url = f"redis://:{WRONG}@127.0.0.1:{server.port}"
        store = open_store(server, url=url)
        await store.look()
        assert state_of(store) is StoreState.DOWN
        assert "check user and password in ordering.redis_url" in store.problem
        assert errors_of(store, "auth") == 1.0
        assert WRONG not in f"{logs}{store.problem}"
        assert WRONG not in repr(vars(store))


async def test_a_password_with_special_characters_is_written_with_percent_signs(
    tmp_path: Path, open_store: Open
) -> None:
    """As in every URL."""
    with running(RealRedis(tmp_path, password=PASSWORD)) as server:
        url = f"redis://:s3cret%21%25%2F%20word@127.0.0.1:{server.port}"
        store = open_store(server, url=url)
        await store.look()
        assert state_of(store) is StoreState.UP


async def test_a_user_without_the_right_to_info_is_enough(
    own_redis: RealRedis, open_store: Open
) -> None:
    """What cannot be looked at is said; losses are then noticed by the generation alone."""
    own_redis.client.execute_command(
        "ACL", "SETUSER", "narrow", "on", ">pw", "~ldsync:*", "+@all", "-info", "-acl"
    )
    store = open_store(own_redis, url=f"redis://narrow:pw@127.0.0.1:{own_redis.port}")
    with capture_logs() as logs:
        await store.look()
        await store.look()
    assert state_of(store) is StoreState.UP
    assert await merged(store, {"a": stamp(1)}) == {"a": stamp(1)}
    unsafe = [entry for entry in logs if entry["event"] == "ordering.unsafe"]
    assert len(unsafe) == 1
    assert "does not say how it is set up" in unsafe[0]["detail"]


async def test_tls_with_a_client_certificate(tmp_path: Path, open_store: Open) -> None:
    """`rediss://`, the files as options of the URL; without them the server is not trusted."""
    files = make_certificates(tmp_path / "certificates")
    with running(RealRedis(tmp_path, certificates=files, password="pw")) as server:
        store = open_store(server)
        await store.look()
        assert state_of(store) is StoreState.UP, store.problem
        assert await merged(store, {"a": stamp(1)}) == {"a": stamp(1)}
        blind = open_store(server, url=server.url.partition("?")[0])
        await blind.look()
        assert blind.state is StoreState.DOWN
        assert "certificate" in blind.problem


async def test_an_evicting_redis_is_warned_of_once(own_redis: RealRedis, open_store: Open) -> None:
    """Marks that are evicted are not missed by anybody."""
    own_redis.client.config_set("maxmemory-policy", "allkeys-lru")
    store = open_store(own_redis)
    with capture_logs() as logs:
        await store.look()
        await store.look()
    unsafe = [entry["detail"] for entry in logs if entry["event"] == "ordering.unsafe"]
    assert len(unsafe) == 1
    assert "maxmemory-policy" in unsafe[0]


async def test_a_check_finds_what_is_wrong_and_changes_nothing(own_redis: RealRedis) -> None:
    """With the settings, with the server, or that there is none."""
    ordering = OrderingSettings(store="redis", redis_url=SecretStr(own_redis.url))
    settings = Settings(ordering=ordering)
    assert [each.state for each in await check_ordering(settings)] == [State.OK]
    own_redis.client.config_set("maxmemory-policy", "allkeys-lru")
    short = ordering.model_copy(update={"retention_seconds": 60.0})
    found = await check_ordering(Settings(ordering=short))
    assert [each.state for each in found] == [State.WARNING] * 2
    assert own_redis.client.dbsize() == 0
    own_redis.kill()
    (away,) = await check_ordering(settings)
    assert away.state is State.FAILED
    assert "cannot be reached" in away.detail
    (memory,) = await check_ordering(Settings())
    assert memory.state is State.OK
    assert "keyed by user" in memory.detail


async def test_in_a_cluster_the_node_that_has_the_slot_is_found(
    tmp_path: Path, open_store: Open
) -> None:
    """And again, when the slot is no longer where it was; real nodes refuse keys of other slots."""
    buses = [unused_port(), unused_port()]
    nodes = [
        RealRedis(
            tmp_path / f"{bus}",
            options=("--cluster-enabled", "yes", "--cluster-port", f"{bus}"),
        )
        for bus in buses
    ]
    with running(nodes[0]) as one, running(nodes[1]) as other:
        slot = key_slot(b"p/e")
        one.client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, buses[1])
        other.client.execute_command("CLUSTER", "ADDSLOTSRANGE", slot, slot)
        for first, last in ((0, slot - 1), (slot + 1, 16383)):
            one.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        await eventually(lambda: _is_whole(one) and _is_whole(other), "the cluster is whole")
        store = open_store(one)
        await asyncio.gather(*(store.look() for _ in range(5)))  # all are sent elsewhere
        assert state_of(store) is StoreState.UP, store.problem
        await merged(store, {"a": stamp(5)})
        assert other.client.hexists(STATE, "generation")
        assert await merged(store, {"a": stamp(1)}) == {"a": stamp(5)}
        other.kill()
        await store.look()
        assert state_of(store) is StoreState.DOWN
        other.start()
        await eventually(lambda: _looks_up(store), "it is up again")
        await store.close()
        await eventually(lambda: _is_left(one) and _is_left(other), "only the test is connected")


def _is_left(node: RealRedis) -> bool:
    return len(node.client.client_list()) == 1


def _is_whole(node: RealRedis) -> bool:
    said = node.client.execute_command("CLUSTER", "INFO")
    return "cluster_state:ok" in (said.decode() if isinstance(said, bytes) else str(said))


def test_a_new_format_uses_other_keys() -> None:
    """A program that keeps something else must not read these."""
    assert f"ldsync:{scripts.FORMAT}:{{p/e}}:state" == STATE
