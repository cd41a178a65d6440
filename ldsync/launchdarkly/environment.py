"""The LaunchDarkly environment that is written to, and whether it is there."""

from dataclasses import dataclass
from typing import Final

import structlog

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.outcome import Retry, Verdict
from ldsync.launchdarkly.reply import NoAnswer

ENVIRONMENT_ROUTE: Final = "/api/v2/projects/{projectKey}/environments/{environmentKey}"


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment of one project, by their keys, its client-side ID, or both."""

    project_key: str
    environment_key: str
    client_side_id: str = ""

    def __str__(self) -> str:
        """As operators read it."""
        if not self.project_key:
            return f"the environment with client-side ID {self.client_side_id}"
        return f"environment {self.environment_key} of project {self.project_key}"


async def probe(client: LaunchDarklyClient, environment: Environment) -> Retry | None:
    """Ask for the environment: one request that proves host, token and both keys.

    The answer carries SDK credentials and is never logged. Required approvals are logged as a
    warning only: a role may be allowed to bypass them.

    Returns:
        None if the environment is there; else why not, in words for the operator, and how soon to
        ask again.
    """
    if not environment.project_key:  # synced segments need no more than the id
        return None
    doing = f"looking up {environment}"
    answer = await client.request(
        "GET",
        ENVIRONMENT_ROUTE,
        {
            "projectKey": environment.project_key,
            "environmentKey": environment.environment_key,
        },
    )
    if isinstance(answer, NoAnswer):
        return answer.retry(doing)
    if answer.ruling.verdict is not Verdict.ACCEPTED:
        return answer.retry(doing)
    document = answer.document()
    if document is None or document.get("key") != environment.environment_key:
        return answer.implausible(doing, "that environment is not in the answer")
    settings = document.get("resourceApprovalSettings")
    approvals = settings.get("segment") if isinstance(settings, dict) else None
    if isinstance(approvals, dict) and approvals.get("required") is True:
        structlog.get_logger().warning(
            "launchdarkly.approvals_required",
            project=environment.project_key,
            environment=environment.environment_key,
            advice="writes are refused unless the token's role has bypassRequiredSegmentApproval",
        )
    return None
