"""What `ldsync run` needs of LaunchDarkly: token, environment, and what the token may do there.

Permissions are read from `_access`, where a reply has it, and tried with `dryRun`, which validates
a patch and stores nothing. What can only be found out by doing it stays unknown.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from ldsync.checks.finding import Finding, State
from ldsync.launchdarkly.connection import Connection
from ldsync.launchdarkly.environment import Found
from ldsync.launchdarkly.outcome import RetryReason, Verdict
from ldsync.launchdarkly.reply import Answer, NoAnswer, Reply
from ldsync.launchdarkly.request import SEGMENT_ROUTE, SEGMENTS_ROUTE, SEMANTIC_PATCH
from ldsync.launchdarkly.resolution import access_in, resolve
from ldsync.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ldsync.config import LaunchDarklySettings, Settings

IDENTITY_ROUTE: Final = "/api/v2/caller-identity"

#: What is tried to see whether an action is allowed.
_TRIED: Final = {
    "updateIncluded": ("addIncludedTargets", "removeIncludedTargets"),
    "updateExcluded": ("addExcludedTargets", "removeExcludedTargets"),
}

#: A member that exists nowhere; with `dryRun` it does not come to exist.
_NOBODY: Final = "ldsync-check"

#: Clocks that differ by less (seconds) do no harm at all.
_SKEW: Final = 5.0


async def check_launchdarkly(settings: Settings) -> list[Finding]:
    """Look at LaunchDarkly; nothing is written."""
    section = settings.launchdarkly
    connection = Connection(section, Metrics(), random.Random())
    try:
        return [finding async for finding in _Checks(connection, section).run()]
    finally:
        await connection.close()


class _Checks:
    """The questions, in their order: each needs what the ones before it found."""

    def __init__(self, connection: Connection, settings: LaunchDarklySettings) -> None:
        self._client = connection.client
        self._pacing = connection.pacing
        self._environment = connection.environment
        self._settings = settings

    async def run(self) -> AsyncIterator[Finding]:
        """Ask; give each finding as it is made."""
        identity = await self._client.request("GET", IDENTITY_ROUTE, {}, urgent=True)
        token = self._token(identity)
        yield token
        if isinstance(identity, NoAnswer):
            return
        yield self._clock()
        if token.state is State.FAILED:
            return
        found = await resolve(self._client, self._environment)
        if not isinstance(found, Found):
            yield Finding("environment", State.FAILED, found.detail)
            return
        self._environment.resolve(found)
        if not found.environment_key:
            detail = f"{self._environment}: synced segments need no more, and it shows with a write"
            yield Finding("environment", State.UNKNOWN, detail)
            return
        shown = f"{self._environment} (client-side ID {self._environment.client_side_id})"
        yield Finding("environment", State.OK, shown)
        yield _approvals(found)
        yield _creation(found)
        async for finding in self._writing(found):
            yield finding

    def _token(self, answer: Answer) -> Finding:
        """Whether the token is one: of the reply only names are used."""
        if isinstance(answer, NoAnswer):
            return Finding(
                "LaunchDarkly",
                State.FAILED,
                f"{self._settings.base_url} does not answer: {answer.detail}",
                "Check launchdarkly.instance or launchdarkly.base_url, and proxies and firewalls "
                "on the way",
            )
        if answer.ruling.verdict is not Verdict.ACCEPTED:
            return _refusal("token", answer)
        document = answer.document()
        if document is None:
            return Finding(
                "token",
                State.FAILED,
                f"{self._settings.base_url} answers, but not like LaunchDarkly's API",
                "Check launchdarkly.base_url and what lies between",
            )
        name = document.get("tokenName")
        service = document.get("serviceToken") is True
        detail = f"{name or 'without a name'}, {'a service token' if service else 'a personal one'}"
        return Finding(
            "token",
            State.OK if service else State.WARNING,
            detail,
            "" if service else "A personal token ends with its owner: use a service token",
        )

    def _clock(self) -> Finding:
        ahead = self._pacing.clock.ahead_ms / 1000.0
        if abs(ahead) < _SKEW:
            return Finding("clock", State.OK, "agrees with LaunchDarkly's to the second or so")
        direction = "behind" if ahead > 0 else "ahead of"
        return Finding(
            "clock",
            State.WARNING,
            f"is {abs(ahead):,.0f} s {direction} LaunchDarkly's",
            "Rate limits are kept nevertheless; ages in metrics and logs are wrong. Synchronise it",
        )

    async def _writing(self, found: Found) -> AsyncIterator[Finding]:
        """Whether members may be written, tried on a segment of ours without changing it."""
        actions = list(_TRIED)
        if self._settings.exit_action != "exclude":
            actions.remove("updateExcluded")
        segment = await self._segment_of_ours(found)
        for action in actions:
            if not isinstance(segment, dict):
                yield segment(action)
            elif self._settings.write_path == "standard":
                yield await self._try(action, found, segment)
            else:
                yield _read(action, segment)

    async def _segment_of_ours(self, found: Found) -> dict[str, Any] | Callable[[str], Finding]:
        """A segment with our tag, as they are written; if there is none, what to say of actions."""
        big = self._settings.write_path == "big"
        names = {"projectKey": found.project_key, "environmentKey": found.environment_key}
        tags = orjson.dumps(self._settings.tags[:1]).decode()
        query = {"limit": "20", "filter": f"tags anyOf {tags}"} if self._settings.tags else {}
        listing = await self._client.request("GET", SEGMENTS_ROUTE, names, query=query)
        if isinstance(listing, NoAnswer) or listing.ruling.verdict is not Verdict.ACCEPTED:
            return partial(_refusal, answer=listing)
        items = (listing.document() or {}).get("items")
        for item in items or ():
            if isinstance(item, dict) and (item.get("unbounded") is True) is big:
                return item
        kind = self._settings.write_path
        return partial(_untried, f"there is no {kind} segment of ldsync that would show it")

    async def _try(self, action: str, found: Found, segment: dict[str, Any]) -> Finding:
        key = str(segment.get("key"))
        names = {
            "projectKey": found.project_key,
            "environmentKey": found.environment_key,
            "segmentKey": key,
        }
        instructions = [
            {"kind": kind, "contextKind": "user", "values": [f"{_NOBODY}-{number}"]}
            for number, kind in enumerate(_TRIED[action])
        ]
        body = {
            "environmentKey": found.environment_key,
            "comment": "ldsync check: a dry run",
            "instructions": instructions,
        }
        answer = await self._client.request(
            "PATCH",
            SEGMENT_ROUTE,
            names,
            orjson.dumps(body),
            SEMANTIC_PATCH,
            query={"dryRun": "true"},
        )
        denied = access_in(segment).get(action) is False
        if isinstance(answer, NoAnswer) or answer.ruling.verdict is not Verdict.ACCEPTED or denied:
            return _refusal(action, answer)
        return Finding(action, State.OK, f"tried on segment {key}, which is unchanged")


def _approvals(found: Found) -> Finding:
    if not found.approvals_required:
        return Finding("approvals", State.OK, "changes of segments need none")
    return Finding(
        "approvals",
        State.WARNING,
        "changes of segments need an approval in this environment",
        "The token's role needs the action bypassRequiredSegmentApproval",
    )


def _creation(found: Found) -> Finding:
    allowed = found.access.get("createSegment")
    if allowed is None:
        return Finding(
            "createSegment",
            State.UNKNOWN,
            "LaunchDarkly does not say; it shows when the first segment is created",
            "The token's role must allow createSegment, unless all segments exist: look at it in "
            "LaunchDarkly",
        )
    if allowed:
        return Finding("createSegment", State.OK, "the token may create segments")
    return Finding(
        "createSegment",
        State.FAILED,
        "the token may not create segments",
        "Allow createSegment in the token's role",
    )


def _read(action: str, segment: dict[str, Any]) -> Finding:
    """Whether a segment itself says that an action is allowed, of a kind that has no dry run."""
    key = segment.get("key")
    allowed = access_in(segment).get(action)
    if allowed is None:
        why = f"big segments have no dry run, and LaunchDarkly does not say it of segment {key}"
        return _untried(why, action)
    if allowed:
        return Finding(action, State.OK, f"LaunchDarkly says so of segment {key}")
    detail = f"LaunchDarkly says that the token may not do it with segment {key}"
    return Finding(action, State.FAILED, detail, f"Allow {action} in the token's role")


def _untried(why: str, action: str) -> Finding:
    advice = f"The token's role must allow {action}: look at it in LaunchDarkly"
    return Finding(action, State.UNKNOWN, why, advice)


def _refusal(name: str, answer: Answer) -> Finding:
    """What a reply says that should have said yes."""
    if isinstance(answer, NoAnswer):
        return Finding(name, State.UNKNOWN, f"no answer ({answer.detail})", "Try again")
    ruling = answer.ruling
    if ruling.reason in {RetryReason.RATE_LIMITED, RetryReason.SERVER_ERROR}:
        return Finding(name, State.UNKNOWN, f"LaunchDarkly answered {answer.error}", "Try again")
    said = answer.error or "that the token may not"
    return Finding(name, State.FAILED, f"LaunchDarkly answered {said}", _advice(name, answer))


def _advice(name: str, answer: Reply) -> str:
    if answer.ruling.reason is RetryReason.FORBIDDEN or not answer.error:
        return f"Allow {name} in the token's role"
    return answer.ruling.advice
