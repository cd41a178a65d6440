"""Segments as objects: look up, create, adopt. What is in them is the writers' business.

A segment is looked up once per process life, before the first write to it. One that is missing is
created; one that exists is written to only if the operator agreed to that (`launchdarkly.adopt`): a
list made by hand must never be edited by surprise.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import orjson
import structlog

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.environment import Environment
from ldsync.launchdarkly.forms import Form
from ldsync.launchdarkly.outcome import Outcome, Patience, Retry, RetryReason, Verdict
from ldsync.launchdarkly.reply import NoAnswer
from ldsync.launchdarkly.request import SEGMENT_ROUTE, SEGMENTS_ROUTE
from ldsync.sync.change import Segment
from ldsync.telemetry.metrics import Metrics

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


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator wants of segments.

    Attributes:
        tags: What segments are created with; the first one is the mark of ldsync.
        adopt: Which segments that exist already may be written to.
        view_keys: The views that created segments are in; some projects demand one.
        create: Whether segments that are missing are created.
        recreate: Whether that goes for one that was deleted while it was written to, too.
    """

    tags: Sequence[str] = ("ldsync",)
    adopt: Adopt = Adopt.TAGGED
    view_keys: Sequence[str] = ()
    create: bool = True
    recreate: bool = True


class Segments:
    """Makes sure that segments exist and may be written to.

    Args:
        client: Sends the requests.
        environment: Where the segments are.
        form: Which sort of segments.
        terms: What the operator wants of them.
        metrics: Counts the segments created.
    """

    def __init__(
        self,
        client: LaunchDarklyClient,
        environment: Environment,
        form: Form,
        terms: Terms,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._environment = environment
        self._form = form
        self._terms = terms
        self._metrics = metrics
        self._log = structlog.get_logger()
        self._locks: WeakKeyDictionary[Segment, asyncio.Lock] = WeakKeyDictionary()
        self._ready: WeakSet[Segment] = WeakSet()
        self._vanished: set[str] = set()

    async def written(
        self,
        segment: Segment,
        kinds: AbstractSet[str],
        write: Callable[[], Awaitable[Outcome | None]],
    ) -> Outcome:
        """Write to a segment that is there, and is created again if it turns out to be gone.

        Args:
            segment: The segment.
            kinds: The context kinds of the members that are to be written.
            write: Does it; returns None if the segment is missing.
        """
        for _ in range(2):
            problem = await self.ensure(segment, kinds)
            if problem is not None:
                return problem
            outcome = await write()
            if outcome is not None:
                return outcome
            self._ready.discard(segment)
            self._vanished.add(segment.key)
        return Retry(
            RetryReason.NOT_FOUND,
            f"writing to segment {segment.key}: LaunchDarkly does not know the segment although it "
            "was there a moment ago; ldsync tries again",
        )

    async def ensure(self, segment: Segment, kinds: AbstractSet[str]) -> Retry | None:
        """Make sure the segment exists and may be written to; for all who ask at once, once.

        Returns:
            None if so; else why not, as the outcome of the write that wanted it.
        """
        async with self._locks.setdefault(segment, asyncio.Lock()):
            if segment in self._ready:
                return None
            found = await self.look_up(segment)
            if found is None:
                problem = self._unwanted(segment) or await self._create(segment, kinds)
            elif isinstance(found, Retry):
                problem = found
            else:
                problem = self._take(segment, found, kinds)
            if problem is None:
                self._ready.add(segment)
                self._vanished.discard(segment.key)
            return problem

    def _place(self) -> dict[str, str]:
        """What `SEGMENTS_ROUTE` needs; the keys may be found only after the start."""
        environment = self._environment
        return {
            "projectKey": environment.project_key,
            "environmentKey": environment.environment_key,
        }

    async def look_up(self, segment: Segment) -> dict[str, Any] | Retry | None:
        """The segment as LaunchDarkly has it, with all its targets; None if it is missing."""
        doing = f"looking up segment {segment.key}"
        answer = await self._client.request(
            "GET", SEGMENT_ROUTE, {**self._place(), "segmentKey": segment.key}
        )
        if isinstance(answer, NoAnswer):
            return answer.retry(doing)
        if answer.ruling.verdict is Verdict.MISSING:
            return None
        if answer.ruling.verdict is not Verdict.ACCEPTED:
            return answer.retry(doing)
        return answer.document() or answer.implausible(doing, "there is no segment in the answer")

    def _unwanted(self, segment: Segment) -> Retry | None:
        """Why a segment that is missing is not to be created; None if it is."""
        if not self._terms.create:
            return Retry(
                RetryReason.SEGMENT_MISSING,
                f"segment {segment.key} does not exist, and launchdarkly.create_segments is false; "
                f"its changes wait. Create it, {self._mark()}or set create_segments = true",
                patience=Patience.OPERATOR,
            )
        if segment.key in self._vanished and not self._terms.recreate:
            return Retry(
                RetryReason.SEGMENT_DELETED,
                f"segment {segment.key} was deleted in LaunchDarkly, and "
                "launchdarkly.recreate_deleted is false; its changes wait. Create it again, "
                f"{self._mark()}or stop sending the audience",
                patience=Patience.OPERATOR,
            )
        return None

    def _mark(self) -> str:
        """What a segment made by hand needs to be adopted."""
        return f"with the tag {self._tag!r}, " if self._terms.adopt is Adopt.TAGGED else ""

    @property
    def _tag(self) -> str:
        return self._terms.tags[0] if self._terms.tags else ""

    async def _create(self, segment: Segment, kinds: AbstractSet[str]) -> Retry | None:
        """Create the segment, empty: the API takes no members here."""
        doing = f"creating segment {segment.key}"
        views = {"viewKeys": list(self._terms.view_keys)} if self._terms.view_keys else {}
        body = orjson.dumps(
            {
                "key": segment.key,
                "name": segment.name,
                "description": f"{_DESCRIPTION_HEAD}{segment.audience_id}{_DESCRIPTION_TAIL}",
                "tags": list(self._terms.tags),
                **self._form.fields(segment),
                **views,
            }
        )
        answer = await self._client.request("POST", SEGMENTS_ROUTE, self._place(), body)
        if isinstance(answer, NoAnswer):
            # If it was created nevertheless, the next look-up finds it, with our tag.
            return answer.retry(doing)
        if answer.ruling.verdict is Verdict.ACCEPTED:
            document = answer.document()
            if document is None:
                return answer.implausible(doing, "there is no segment in the answer")
            objection = self._form.objection(segment, document, kinds)
            if objection:
                return answer.implausible(doing, f"what was created {objection}")
            self._form.note(segment, document)
            self._created(segment)
            return None
        if answer.ruling.verdict is Verdict.CONFLICT:  # someone was faster; asking again is no use
            found = await self.look_up(segment)
            if isinstance(found, dict):
                return self._take(segment, found, kinds)
            return found or answer.retry(doing)
        return answer.retry(doing)

    def _created(self, segment: Segment) -> None:
        self._metrics.segments_created.inc()
        names = {"segment": segment.key, "audience_id": segment.audience_id}
        if segment.key in self._vanished:
            segment.recreated = True
            self._log.warning(
                "segment.recreated",
                **names,
                detail="it was deleted in LaunchDarkly: it holds what changed since, not who was "
                "in it before",
            )
        else:
            self._log.info("segment.created", **names, name=segment.name)

    def _take(
        self, segment: Segment, found: dict[str, Any], kinds: AbstractSet[str]
    ) -> Retry | None:
        """Adopt a segment that exists, or say why not."""
        objection = self._form.objection(segment, found, kinds) or self._stranger(found)
        if objection:
            return Retry(
                RetryReason.NOT_ADOPTED,
                f"segment {segment.key} exists already and {objection}; its changes wait",
                patience=Patience.OPERATOR,
            )
        self._form.note(segment, found)
        self._log.info(
            "segment.adopted",
            segment=segment.key,
            audience_id=segment.audience_id,
            tags=found.get("tags"),
        )
        return None

    def _stranger(self, found: dict[str, Any]) -> str:
        """Why a segment of the right sort may not be written to; empty if it may."""
        adopt, tag = self._terms.adopt, self._tag
        tagged = bool(tag) and tag in (found.get("tags") or ())
        if adopt is Adopt.ANY or (adopt is Adopt.TAGGED and tagged):
            return ""
        if adopt is Adopt.TAGGED:
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
