"""One batch on its way: the requests it takes, and the search for members that are refused.

A refused request is halved until the offending members are alone: three among 1,500 take at most 61
requests. First in breadth, which finds with the fewest requests a part without them, and so the
evidence that the request as such is right; then in depth, which finds single members soon, so that
a search which has to be broken off has found some. They are remembered (`Suspects`), and the next
attempt goes on without them.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from ldsync.launchdarkly.client import LaunchDarklyClient
from ldsync.launchdarkly.outcome import (
    REJECTED,
    Delivered,
    Outcome,
    Patience,
    Rejected,
    Retry,
    RetryReason,
    Verdict,
    classify,
)
from ldsync.launchdarkly.reply import Answer, NoAnswer, Reply
from ldsync.launchdarkly.request import Request
from ldsync.launchdarkly.writers.sides import Change
from ldsync.launchdarkly.writers.suspects import MAX_ALONE, Suspects
from ldsync.sync.change import Segment

#: A race for the segment is lost this often before the batch is given back.
MAX_CONFLICTS: Final = 3
_CONFLICT_JITTER = 0.1  # seconds; doubles

#: Refusals in breadth: all halves, quarters, … sixteenths of the batch.
MAX_REFUSALS: Final = 31

#: Requests for one attempt at most: a search that needs more goes on in the next one.
MAX_REQUESTS: Final = 256


@dataclass(frozen=True, slots=True)
class Course:
    """How the batches of one segment are written on one path.

    Attributes:
        segment: Where to.
        build: The requests that changes take, one for each phase.
        phases: How many these are. A phase begins when the one before it is through.
        control: Makes of a refused request one of its sort that changes nothing: if that is
            accepted, what was refused are the members.
        doubt: What is wrong with a reply that claims success; empty if nothing is.
        max_members: Members in one request.
    """

    segment: Segment
    build: Callable[[Sequence[Change]], tuple[Request, ...]]
    phases: int
    control: Callable[[Request], Request]
    doubt: Callable[[Reply, Request], str]
    max_members: int


class Delivery:
    """One attempt at a batch.

    Args:
        client: Sends the requests.
        course: How.
        changes: Stamp by member; at least one.
        suspects: Members of the segment that were refused before.
        rng: Source of jitter.
        audit: Asked at the first refusal whether it has another reason than the members; returns
            the outcome then.
    """

    def __init__(
        self,
        client: LaunchDarklyClient,
        course: Course,
        changes: Mapping[str, str],
        suspects: Suspects,
        rng: random.Random,
        audit: Callable[[], Awaitable[Outcome | None]] | None = None,
    ) -> None:
        self._client = client
        self._course = course
        self._changes = list(changes.items())
        self._suspects = suspects
        self._rng = rng
        self._audit = audit
        self._doing = f"writing to segment {course.segment.key}"
        self._requests = 0
        self._refused: dict[str, str] = {}
        self._accepted = False  # a member, in any phase
        self._ended = False
        self._outcome: Outcome | None = None

    async def run(self) -> Outcome | None:
        """Send what there is to send. None if what it is sent to is missing."""
        self._refused = self._suspects.among(self._changes)
        for phase in range(self._course.phases):
            await self._write(phase)
            if self._ended:
                break
        else:
            self._conclude()
        outcome = self._outcome
        if isinstance(outcome, Retry) and outcome.patience is Patience.TRANSIENT:
            self._suspects.remember(self._changes, self._refused)
        else:
            self._suspects.forget(self._changes)
        return outcome

    def _conclude(self) -> None:
        """Everything was sent: the members are accepted or refused."""
        self._outcome = Rejected(REJECTED, self._refused) if self._refused else Delivered()
        if not self._accepted:
            self._suspects.alone += len(self._refused)

    async def _write(self, phase: int) -> None:
        """Write one phase of all members that were not refused."""
        search = _Search(
            [change for change in self._changes if change[0] not in self._refused],
            self._course.max_members,
        )
        while search.groups and not self._ended:
            if self._requests >= MAX_REQUESTS and search.last is not None:
                self._end(self._to_be_continued(search.last[1]))
                break
            group = search.next()
            request = self._course.build(group)[phase]
            answer = await self._send(request)
            if isinstance(answer, Reply) and answer.ruling.verdict is Verdict.REFUSED:
                await self._narrow(search, group, request, answer)
            elif self._accepts(answer, request):
                search.evident = self._accepted = True
                self._suspects.alone = 0
        if self._ended or search.evident or not self._refused:
            return
        if search.last is not None or phase == 0:
            await self._seek_evidence(search)

    async def _narrow(
        self, search: "_Search", group: Sequence[Change], request: Request, refusal: Reply
    ) -> None:
        """Prepare the next requests after one was refused."""
        audit, self._audit = self._audit, None
        if audit is not None:
            outcome = await audit()
            if outcome is not None:
                self._end(outcome)
                return
        search.refuse(group, request, refusal)
        if len(group) == 1:
            self._refused[group[0][0]] = refusal.message
            if not self._accepted and self._suspects.alone + len(self._refused) > MAX_ALONE:
                self._end(refusal.retry(self._doing))
                return
        if search.refusals == MAX_REFUSALS and not search.evident:
            await self._seek_evidence(search)

    def _to_be_continued(self, refusal: Reply) -> Retry:
        """The outcome of a search that takes more requests than one attempt may."""
        return Retry(
            RetryReason.BAD_REQUEST,
            f"{self._doing}: LaunchDarkly refuses members of the batch ({refusal.error}), "
            f"{len(self._refused)} are found so far; the search for more goes on with the next "
            "attempt, and nothing is dropped meanwhile",
        )

    async def _seek_evidence(self, search: "_Search") -> None:
        """Find out whether it is the members that are refused, or the request as such.

        No member was accepted that could show it.
        """
        if search.last is None:  # all members of the batch were refused in an earlier attempt
            first = next(change for change in self._changes if change[0] in self._refused)
            request, refusal = self._course.build([first])[0], None
        else:
            request, refusal = search.last
        control = self._course.control(request)
        answer = await self._send(control)
        if isinstance(answer, Reply) and answer.ruling.verdict is Verdict.REFUSED:
            self._end((refusal or answer).retry(self._doing))
        elif self._accepts(answer, control):
            search.evident = True

    def _accepts(self, answer: Answer, request: Request) -> bool:
        """Whether a request was accepted; if it was not even refused, the delivery ends."""
        if isinstance(answer, NoAnswer):
            self._end(answer.retry(self._doing, writes_members=True))
        elif answer.ruling.verdict is Verdict.MISSING:
            self._end(None)
        elif answer.ruling.verdict is not Verdict.ACCEPTED:
            self._end(answer.retry(self._doing, writes_members=True))
        elif finding := self._course.doubt(answer, request):
            self._end(answer.implausible(self._doing, finding, writes_members=True))
        else:
            return True
        return False

    def _end(self, outcome: Outcome | None) -> None:
        """Drop what was still to be sent; the batch is given back whole."""
        self._ended = True
        self._outcome = outcome

    async def _send(self, request: Request) -> Answer:
        """Send one request; again at once, a few times, if someone else changed the segment."""
        try:
            body = request.encoded()
        except orjson.JSONEncodeError as error:
            # Half of a surrogate pair in a context key: refused here, as LaunchDarkly would.
            return Reply(400, classify(400), b"", 0.0, message=str(error), error=str(error))
        conflicts = 0
        while True:
            self._requests += 1
            answer = await self._client.request(
                request.method, request.route, request.names, body, request.content_type
            )
            conflict = isinstance(answer, Reply) and answer.ruling.verdict is Verdict.CONFLICT
            if not conflict or conflicts == MAX_CONFLICTS:
                return answer
            await asyncio.sleep(self._rng.uniform(0.0, _CONFLICT_JITTER * 2**conflicts))
            conflicts += 1


class _Search:
    """What is still to be sent in one phase, and what the refusals so far say.

    `evident` says that the request as such is right, `last` is what was last refused, and how.
    """

    def __init__(self, changes: list[Change], max_members: int) -> None:
        self.groups = deque(
            changes[at : at + max_members] for at in range(0, len(changes), max_members)
        )
        self.refusals = 0
        self.evident = False
        self.last: tuple[Request, Reply] | None = None

    def next(self) -> list[Change]:
        """Take the next group: in breadth first, in depth then."""
        return self.groups.pop() if self._in_depth else self.groups.popleft()

    def refuse(self, group: Sequence[Change], request: Request, refusal: Reply) -> None:
        """Note a refusal; send both halves of the group instead, if it has any."""
        self.last = request, refusal
        if len(group) > 1:
            middle = len(group) // 2
            halves = [list(group[:middle]), list(group[middle:])]
            self.groups.extend(reversed(halves) if self._in_depth else halves)
        self.refusals += 1

    @property
    def _in_depth(self) -> bool:
        return self.refusals >= MAX_REFUSALS
