"""The question whether there is an environment to write to."""

import pytest
from structlog.testing import capture_logs

from ldsync.demo.simulator import Fault
from ldsync.launchdarkly.environment import Environment, probe
from ldsync.launchdarkly.outcome import Patience, RetryReason, Scope
from tests.support.standard_writer import Desk, desk

HERE = Environment("p", "e")


async def test_an_environment_that_is_there_is_no_problem() -> None:
    """One request, and nothing of the answer in the log: it carries SDK keys."""
    async with desk() as here:
        with capture_logs() as logs:
            assert await probe(here.client, HERE) is None
        assert here.routes == ["get_environment"]
        assert logs == []


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        pytest.param(Environment("p", "x"), "environment x of project p", id="environment"),
        pytest.param(Environment("x", "e"), "environment e of project x", id="project"),
    ],
)
async def test_wrong_keys_are_told_with_the_settings_to_look_at(
    environment: Environment, named: str
) -> None:
    """404 does not say which of the two is wrong."""
    async with desk() as here:
        problem = await probe(here.client, environment)
    assert problem is not None
    assert (problem.reason, problem.scope, problem.patience) == (
        RetryReason.NOT_FOUND,
        Scope.EVERYTHING,
        Patience.OPERATOR,
    )
    assert named in problem.detail
    assert "launchdarkly.project_key and launchdarkly.environment_key" in problem.detail


async def test_a_wrong_token_is_told() -> None:
    """And not shown."""
    async with desk() as here:
        other = Desk(here.sim, token="api-99999999-wrong")
        async with other.client:
            problem = await probe(other.client, HERE)
    assert problem is not None
    assert problem.reason is RetryReason.UNAUTHORIZED
    assert "launchdarkly.api_token" in problem.detail
    assert "99999999" not in repr(problem)


@pytest.mark.parametrize("body", ["<html>", '{"key": "other"}', "[]"])
async def test_an_answer_about_something_else_is_not_believed(body: str) -> None:
    """A login page answers 200, too."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="get_environment", status=200, body=body))
        problem = await probe(here.client, HERE)
    assert problem is not None
    assert problem.reason is RetryReason.UNEXPECTED


async def test_an_unreachable_launchdarkly_is_a_passing_problem() -> None:
    """Readiness waits; nothing needs to be done about the configuration."""
    async with desk() as here:
        here.sim.faults.add(Fault(route="get_environment", status=503))
        problem = await probe(here.client, HERE)
        await here.sim.stop()
        silence = await probe(here.client, HERE)
    assert problem is not None
    assert silence is not None
    assert (problem.reason, problem.patience) == (RetryReason.SERVER_ERROR, Patience.TRANSIENT)
    assert (silence.reason, silence.ambiguous_since) == (RetryReason.CONNECTION, None)


async def test_required_approvals_are_warned_about() -> None:
    """Only a warning: the token's role may be allowed to bypass them."""
    async with desk() as here:
        body = {"key": "e", "resourceApprovalSettings": {"segment": {"required": True}}}
        here.sim.faults.add(Fault(route="get_environment", status=200, body=body))
        with capture_logs() as logs:
            assert await probe(here.client, HERE) is None
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("launchdarkly.approvals_required", "warning")
    ]
