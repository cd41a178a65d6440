"""Writing to synced segments, as Segment's own destination does.

Against the simulator on a real socket. Each body is held against the schema of the integration
when its test ends, and against what was recorded of Segment's code. Refusals are in
`test_writer_refusals.py`, replies in `test_writer_replies.py`.
"""

import json

from ldsync.demo.simulator import Fault
from ldsync.engage.decoder import Decoder
from ldsync.engage.mapping import Mapping, MembershipMode
from ldsync.launchdarkly.outcome import Delivered, Patience, Rejected, RetryReason, Scope
from ldsync.mappings import SYNCED_KEY
from ldsync.sync.change import Change, includes
from tests.support.engage_events import RECORD_MS, cases, encode
from tests.support.standard_writer import VERSION, desk, ins, outs, users

WRITE = "sync_targets"


async def test_the_first_batch_creates_the_segment() -> None:
    """LaunchDarkly does: nothing is looked up, and no keys are needed."""
    async with desk(path="synced") as here:
        assert await here.write(ins("u-1", "u-2") | outs("u-3")) == Delivered()
        assert here.routes == [WRITE]
        segment = here.sim.segments["segment-audiences-aud_2QZ"]
        assert (segment.name, segment.external) == ("Vip buyers", "segment-audiences")
        assert here.included() == {"u-1", "u-2"}


async def test_all_members_of_a_segment_are_of_its_first_kind() -> None:
    """Others are rejected: the whole request would be refused because of them."""
    async with desk(path="synced") as here:
        batch = {"device/d-1": f"{VERSION}+", "user/u-1": f"{VERSION}+"}
        outcome = await here.write(batch)
        assert isinstance(outcome, Rejected)
        assert (outcome.reason, list(outcome.members)) == ("context_kind_conflict", ["user/u-1"])
        assert here.included("device") == {"d-1"}


async def test_a_batch_that_is_too_large_takes_several_requests() -> None:
    """As many members as configured in each; an empty one takes none."""
    async with desk(path="synced", max_members=1_000) as here:
        assert await here.write({}) == Delivered()
        assert await here.write(ins(*users(2_001))) == Delivered()
        assert here.writes == 3


async def test_an_unknown_environment_makes_the_segment_wait() -> None:
    """It is refused with 400, and so is the control: it is not the members."""
    async with desk(path="synced") as here:
        here.sim.environment.id = "ffffffffffffffffffffffff"
        outcome = await here.waits(ins("u-1", "u-2"))
        assert (outcome.reason, outcome.patience) == (RetryReason.BAD_REQUEST, Patience.OPERATOR)
        assert "environmentId" in outcome.detail


async def test_an_account_without_synced_segments_makes_everything_wait() -> None:
    """404: there is no such address, for any segment."""
    async with desk(path="synced") as here:
        here.sim.faults.add(Fault(route=WRITE, status=404))
        outcome = await here.waits(ins("u-1"))
        assert (outcome.reason, outcome.scope, outcome.patience) == (
            RetryReason.NOT_FOUND,
            Scope.EVERYTHING,
            Patience.OPERATOR,
        )
        assert "launchdarkly.base_url" in outcome.detail


async def test_the_bodies_sent_are_those_that_segment_sends() -> None:
    """All collected events, one request each, compared with what was recorded of its code."""
    recorded = {case["id"]: case["members"] for case in cases("reference.jsonl")}
    expected = []
    async with desk(path="synced") as here:
        for case in cases("events.jsonl"):
            decoder = Decoder(  # one for each: some cases use an id again for another audience
                Mapping(segment_key=SYNCED_KEY),
                membership_mode=MembershipMode.SEGMENT,
                one_kind_per_segment=True,
            )
            change = decoder.read(encode(case["event"]), RECORD_MS)
            if not isinstance(change, Change):
                continue
            batch = {change.member: change.stamp}
            assert await here.write(batch, change.target.segment) == Delivered()
            (member,) = recorded[case["id"]]
            assert includes(change.stamp) is member["value"]
            expected.append(
                {
                    "environmentId": here.sim.client_side_id,  # of the recording: test-client-id
                    "contextKind": member["kind"],
                    "batch": [
                        {
                            "userId": member["key"],
                            "cohortName": member["cohortName"],
                            "cohortId": member["cohortId"],
                            "value": member["value"],
                        }
                    ],
                }
            )
        sent = [(exchange.body or b"").decode() for exchange in here.sim.requests]
    assert sent == [json.dumps(body, separators=(",", ":")) for body in expected]
    assert len(sent) > 15
