"""What both version stores do: one suite, so that either can stand for the other."""

import time
from collections.abc import AsyncIterator

import pytest

from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics
from ldsync.versions.base import StoreState, Versions
from ldsync.versions.memory import MemoryVersions
from ldsync.versions.redis import RedisVersions
from tests.support.core import segment, stamp
from tests.support.redis_fixtures import redis, shared_redis

__all__ = ["redis", "shared_redis"]

TIE_OUT, TIE_IN = stamp(5, "-"), stamp(5, "+")


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def versions(request: pytest.FixtureRequest) -> AsyncIterator[Versions]:
    """A store that is up and knows nothing."""
    store: Versions
    if request.param == "memory":
        store = MemoryVersions(100_000, time.monotonic())
    else:
        url = request.getfixturevalue("redis").url
        shared = RedisVersions(
            url, "p/e", retention=3600.0, timeout=5.0, warm_after=0.0, metrics=Metrics()
        )
        await shared.look()
        store = shared
    yield store
    await store.close()


async def merged(
    versions: Versions, to: Segment, changes: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Merge a copy of the changes: which were stale, as one word, and what became of them."""
    changes = dict(changes)
    stale = await versions.merge(to, changes, time.monotonic())
    return "".join(sorted(stale)), changes


async def test_a_store_that_can_be_relied_on_says_so(versions: Versions) -> None:
    """Only then anything is written."""
    assert versions.state is StoreState.UP
    assert versions.problem == ""


async def test_what_is_not_known_stays_as_it_is(versions: Versions) -> None:
    """And nobody has to be asked twice about an empty batch."""
    changes = {"user/a": stamp(1), "user/b": stamp(2, "-")}
    assert await merged(versions, segment(), changes) == ("", changes)
    assert await merged(versions, segment(), {}) == ("", {})


@pytest.mark.parametrize(
    ("known", "change", "written", "stale"),
    [
        pytest.param(stamp(2), stamp(1, "-"), stamp(2), "a", id="older_is_replaced"),
        pytest.param(stamp(2, "-"), stamp(3), stamp(3), "", id="newer_stays"),
        pytest.param(stamp(2), stamp(2), stamp(2), "", id="the_same_stays"),
        pytest.param(TIE_IN, TIE_OUT, TIE_OUT, "", id="a_tie_goes_to_the_later_arrival_out"),
        pytest.param(TIE_OUT, TIE_IN, TIE_IN, "", id="a_tie_goes_to_the_later_arrival_in"),
    ],
)
async def test_an_older_change_is_replaced_and_never_dropped(
    versions: Versions, known: str, change: str, written: str, stale: str
) -> None:
    """R6: the newest known value is written again, and stays known."""
    vip = segment()
    await merged(versions, vip, {"a": known})
    assert await merged(versions, vip, {"a": change}) == (stale, {"a": written})
    assert await merged(versions, vip, {"a": stamp(0)}) == ("a", {"a": written})


async def test_what_is_known_can_be_looked_up(versions: Versions) -> None:
    """Of the members that are asked for, and without noting anything."""
    vip = segment()
    await merged(versions, vip, {"a": stamp(2), "b": stamp(3, "-")})
    for _ in range(2):
        assert await versions.known(vip, ["a", "c"]) == {"a": stamp(2)}
    assert await versions.known(segment("other"), ["a"]) == {}
    assert await versions.known(vip, []) == {}


# As `ldsync.engage.times` writes them: digits below the millisecond sort behind the bare one.
MILLISECOND = "2026-03-04T10:15:30.123Z"
LATER = "2026-03-04T10:15:30.123a000001Z"
NEXT = "2026-03-04T10:15:30.124Z"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        pytest.param(MILLISECOND * 2, LATER + MILLISECOND, id="a_digit_below"),
        pytest.param(LATER + MILLISECOND, NEXT + MILLISECOND, id="the_next_millisecond"),
        pytest.param(MILLISECOND * 2, MILLISECOND + NEXT, id="received_later"),
        pytest.param(MILLISECOND * 2, MILLISECOND + LATER, id="received_a_digit_later"),
        pytest.param("2026-03-04T10:15:30.123Z" * 2, "2027-03-04T10:15:30.123Z" * 2, id="year"),
    ],
)
async def test_versions_are_compared_byte_by_byte(
    versions: Versions, older: str, newer: str
) -> None:
    """Whatever a server's locale makes of letters and signs."""
    vip = segment()
    await merged(versions, vip, {"a": f"{newer}-", "b": f"{older}+"})
    stale, changes = await merged(versions, vip, {"a": f"{older}+", "b": f"{newer}-"})
    assert (stale, changes) == ("a", {"a": f"{newer}-", "b": f"{newer}-"})


async def test_only_the_members_of_the_batch_are_touched(versions: Versions) -> None:
    """What else is known stays out of it, and the order stays."""
    vip = segment()
    await merged(versions, vip, {"a": stamp(5), "b": stamp(5)})
    stale, changes = await merged(versions, vip, {"c": stamp(1), "b": stamp(1, "-")})
    assert stale == "b"
    assert list(changes.items()) == [("c", stamp(1)), ("b", stamp(5))]


async def test_segments_do_not_mind_each_other(versions: Versions) -> None:
    """The same member of two segments is two members."""
    await merged(versions, segment("vip"), {"a": stamp(5)})
    assert await merged(versions, segment("other"), {"a": stamp(1)}) == ("", {"a": stamp(1)})


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("user/" + "x" * 2000, id="long"),
        pytest.param('user/"quoted" \\ {tag}:\n\x00', id="special"),
        pytest.param("user/søren-日本-🙂", id="not_ascii"),
        pytest.param("user/-1", id="number"),
        pytest.param("", id="empty"),
    ],
)
async def test_a_member_is_any_text(versions: Versions, member: str) -> None:
    """Nothing in it is taken for something else."""
    vip = segment()
    await merged(versions, vip, {member: stamp(5), "user/1": stamp(1)})
    stale = await versions.merge(vip, {member: stamp(1)}, time.monotonic())
    assert stale == {member}


async def test_half_a_surrogate_pair_harms_no_neighbour(versions: Versions) -> None:
    """LaunchDarkly refuses such a key by itself; the others of its batch are compared (P5)."""
    vip = segment()
    await merged(versions, vip, {"user/\ud800": stamp(5), "b": stamp(5)})
    _, changes = await merged(versions, vip, {"user/\ud800": stamp(6), "b": stamp(1)})
    assert changes == {"user/\ud800": stamp(6), "b": stamp(5)}


async def test_a_full_batch_is_compared_whole(versions: Versions) -> None:
    """1,500 members, of which every third is known to be newer."""
    vip = segment()
    await merged(versions, vip, {f"user/{n}": stamp(9) for n in range(0, 1500, 3)})
    changes = {f"user/{n}": stamp(1, "-") for n in range(1500)}
    stale = await versions.merge(vip, changes, time.monotonic())
    assert stale == {f"user/{n}" for n in range(0, 1500, 3)}
    assert [changes[f"user/{n}"] for n in range(6)] == [stamp(9), *[stamp(1, "-")] * 2] * 2


async def test_history_is_noted_and_not_changed(versions: Versions) -> None:
    """R5: what is noted decides later; it is no write, and is only read."""
    vip = segment()
    history = {"a": stamp(5)}
    await versions.note(vip, history, time.monotonic())
    await versions.note(vip, {"a": stamp(3, "-")}, time.monotonic())
    assert history == {"a": stamp(5)}
    assert await merged(versions, vip, {"a": stamp(4, "-")}) == ("a", {"a": stamp(5)})


async def test_nothing_is_to_be_written_again_when_nobody_came_between(versions: Versions) -> None:
    """R7: the usual end of a write."""
    vip = segment()
    changes = {"a": stamp(5), "b": stamp(6, "-")}
    await versions.merge(vip, changes, time.monotonic())
    assert not await versions.confirm(vip, changes)
    assert changes == {"a": stamp(5), "b": stamp(6, "-")}
    assert not await versions.confirm(vip, {})


async def test_the_horizon_reaches_as_far_back_as_history_was_noted(versions: Versions) -> None:
    """R5: whoever has read it says so."""
    assert versions.horizon(time.monotonic()) < 600.0
    await versions.mark_warm(600.0, time.monotonic())
    if isinstance(versions, RedisVersions):
        await versions.look()
    assert 600.0 <= versions.horizon(time.monotonic()) < 660.0
