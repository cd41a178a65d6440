"""Segments as objects: look up, create, adopt. What is in them is the writers' business.

A segment is looked up once per process life, before the first write to it. One that is missing is
created; one that exists is written to only if the operator agreed to that (`launchdarkly.adopt`): a
list made by hand must never be edited by surprise.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import orjson
import structlog

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Verdict
from ldsync.launchdarkly.reply import NoAnswer
from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics

SEGMENTS_ROUTE: Final = "/api/v2/segments/{projectKey}/{environmentKey}"
SEGMENT_ROUTE: Final = f"{SEGMENTS_ROUTE}/{{segmentKey}}"

_DESCRIPTION_HEAD = "Synced from Segment Engage audience "
_DESCRIPTION_TAIL = " by ldsync"


class Adopt(StrEnum):
    """Which segments that exist already may be written to.

    `TAGGED`: those that carry the first of ldsync's tags. `ANY`: all. `NEVER`: only those that
    ldsync created itself, in this life or an earlier one: with that tag and its description.
    """

    TAGGED = "tagged"
    ANY = "any"
    NEVER = "never"


class Segments:
    """Makes sure that segments exist and may be written to.

    Not for two callers at once with the same segment: writers see to that.

    Args:
        client: Sends the requests.
        environment: Where the segments are.
        tags: What segments are created with; the first one is the mark of ldsync.
        adopt: Which segments that exist already may be written to.
        metrics: Counts the segments created.
    """

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        *,
        tags: Sequence[str],
        adopt: Adopt,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._environment = environment
        self._tags = list(tags)
        self._adopt = adopt
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._ready: set[str] = set()
        self._vanished: set[str] = set()

    def names(self, segment: Segment) -> dict[str, str]:
        """What `SEGMENT_ROUTE` needs to name this segment."""
        return {**self._place(), "segmentKey": segment.key}

    def _place(self) -> dict[str, str]:
        """What `SEGMENTS_ROUTE` needs; the keys may have been found only now."""
        environment = self._environment
        return {
            "projectKey": environment.project_key,
            "environmentKey": environment.environment_key,
        }

    def forget(self, segment: Segment) -> None:
        """It was there and is gone: the next `ensure` looks again."""
        self._ready.discard(segment.key)
        self._vanished.add(segment.key)

    async def ensure(self, segment: Segment) -> Retry | None:
        """Make sure the segment exists and may be written to.

        Returns:
            None if so; else why not, as the outcome of the write that wanted it.
        """
        if segment.key in self._ready:
            return None
        found = await self.look_up(segment)
        if found is None:
            problem = await self._create(segment)
        elif isinstance(found, Retry):
            problem = found
        else:
            problem = self._take(segment, found)
        if problem is None:
            self._ready.add(segment.key)
            self._vanished.discard(segment.key)
        return problem

    async def look_up(self, segment: Segment) -> dict[str, Any] | Retry | None:
        """The segment as LaunchDarkly has it, with all its targets; None if it is missing."""
        doing = f"looking up segment {segment.key}"
        answer = await self._client.request("GET", SEGMENT_ROUTE, self.names(segment))
        if isinstance(answer, NoAnswer):
            return answer.retry(doing)
        if answer.ruling.verdict is Verdict.MISSING:
            return None
        if answer.ruling.verdict is not Verdict.ACCEPTED:
            return answer.retry(doing)
        return answer.document() or answer.implausible(doing, "there is no segment in the answer")

    async def _create(self, segment: Segment) -> Retry | None:
        """Create the segment, empty: the API takes no members here."""
        doing = f"creating segment {segment.key}"
        body = orjson.dumps(
            {
                "key": segment.key,
                "name": segment.name,
                "description": f"{_DESCRIPTION_HEAD}{segment.audience_id}{_DESCRIPTION_TAIL}",
                "tags": self._tags,
                "unbounded": False,
            }
        )
        answer = await self._client.request("POST", SEGMENTS_ROUTE, self._place(), body)
        if isinstance(answer, NoAnswer):
            # If it was created nevertheless, the next look-up finds it, with our tag.
            return answer.retry(doing)
        if answer.ruling.verdict is Verdict.ACCEPTED:
            if answer.document() is None:
                return answer.implausible(doing, "there is no segment in the answer")
            self._created(segment)
            return None
        if answer.ruling.verdict is Verdict.CONFLICT:  # someone was faster; asking again is no use
            found = await self.look_up(segment)
            if isinstance(found, dict):
                return self._take(segment, found)
            return found or answer.retry(doing)
        return answer.retry(doing)

    def _created(self, segment: Segment) -> None:
        self._metrics.segments_created.inc()
        names = {"segment": segment.key, "audience_id": segment.audience_id}
        if segment.key in self._vanished:
            self._log.warning(
                "segment.recreated",
                **names,
                detail="it was deleted in LaunchDarkly: it holds what changed since, not who was "
                "in it before",
            )
        else:
            self._log.info("segment.created", **names, name=segment.name)

    def _take(self, segment: Segment, found: dict[str, Any]) -> Retry | None:
        """Adopt a segment that exists, or say why not."""
        objection = self._objection(found)
        if objection:
            return Retry(
                RetryReason.NOT_ADOPTED,
                f"segment {segment.key} exists already and {objection}; its changes wait",
                patience=Patience.OPERATOR,
            )
        self._log.info(
            "segment.adopted",
            segment=segment.key,
            audience_id=segment.audience_id,
            tags=found.get("tags"),
        )
        return None

    def _objection(self, found: dict[str, Any]) -> str:
        """Why a segment that exists may not be written to; empty if it may."""
        if found.get("unbounded") is True or found.get("_external"):
            return (
                'is a big or synced segment, which launchdarkly.write_path = "standard" cannot '
                "write: rename it, or choose another naming.segment_key"
            )
        tag = self._tags[0] if self._tags else ""
        tagged = bool(tag) and tag in (found.get("tags") or ())
        if self._adopt is Adopt.ANY or (self._adopt is Adopt.TAGGED and tagged):
            return ""
        if self._adopt is Adopt.TAGGED:
            return (
                f"does not carry the tag {tag!r}: add the tag if ldsync may edit it, set "
                'launchdarkly.adopt = "any", or choose another naming.segment_key'
            )
        description = str(found.get("description") or "")
        if (
            tagged
            and description.startswith(_DESCRIPTION_HEAD)
            and description.endswith(_DESCRIPTION_TAIL)
        ):
            return ""
        return (
            'was not created by ldsync, and launchdarkly.adopt is "never": delete or rename it, '
            "or choose another naming.segment_key"
        )


def members_of(document: dict[str, Any], which: str) -> set[str]:
    """Members (`kind/key`) in a list of a standard segment.

    Args:
        document: The segment as LaunchDarkly shows it.
        which: `included` or `excluded`. Keys of kind `user` are in the list of that name, all
            others in `<which>Contexts`; where `user` targets go is not documented, so both count.
    """
    members = {f"user/{key}" for key in document.get(which) or ()}
    for group in document.get(f"{which}Contexts") or ():
        members.update(f"{group['contextKind']}/{key}" for key in group.get("values") or ())
    return members
