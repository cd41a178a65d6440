"""Whether, and how, segments are created."""

import json

import pytest
from structlog.testing import capture_logs

from ldsync.launchdarkly.outcome import Delivered, Patience, RetryReason, Scope
from tests.support.standard_writer import desk, ins

PATHS = pytest.mark.parametrize("path", ["standard", "big"])


@PATHS
async def test_segments_are_not_created_if_that_is_switched_off(path: str) -> None:
    """The changes wait, and are written when someone has created it."""
    async with desk(path=path, create=False) as here:
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.SEGMENT_MISSING,
            Scope.SEGMENT,
            Patience.OPERATOR,
        )
        assert "create_segments" in outcome.detail
        assert "'ldsync'" in outcome.detail, "or it would not be adopted"
        assert here.routes == ["get_segment"]
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=path == "big")
        assert await here.write(ins("u-1")) == Delivered()


@PATHS
async def test_a_deleted_segment_is_not_created_again_if_that_is_switched_off(path: str) -> None:
    """One that never was there is."""
    async with desk(path=path, recreate=False) as here:
        assert await here.write(ins("u-1")) == Delivered()
        here.sim.environment.delete_segment("vip")
        for _ in range(2):
            outcome = await here.waits(ins("u-2"))
            assert (outcome.reason, outcome.patience) == (
                RetryReason.SEGMENT_DELETED,
                Patience.OPERATOR,
            )
            assert "recreate_deleted" in outcome.detail
        here.sim.create_segment("vip", tags=["ldsync"], unbounded=path == "big")
        with capture_logs() as logs:
            assert await here.write(ins("u-2")) == Delivered()
        assert [line["event"] for line in logs] == ["segment.adopted"]


async def test_what_adopts_anything_needs_no_tag() -> None:
    """Advice fits the configuration."""
    async with desk(create=False, adopt="any") as here:
        assert "tag" not in (await here.waits(ins("u-1"))).detail


@PATHS
@pytest.mark.parametrize("views", [(), ("web", "mobile")])
async def test_views_are_sent_only_if_there_are_any(path: str, views: tuple[str, ...]) -> None:
    """The field is in no public schema: who does not need it must not depend on it."""
    async with desk(path=path, view_keys=views) as here:
        await here.write(ins("u-1"))
        (creation,) = [each for each in here.sim.requests if each.route == "create_segment"]
        body = json.loads(creation.body or b"")
        assert body.get("viewKeys", []) == list(views)
        assert ("viewKeys" in body) is bool(views)
