"""What became of a write, and the one table that says what a reply of LaunchDarkly means.

The rest of the program sees `Delivered`, `Retry` or `Rejected` and never a status code. The table
is launchdarkly-api contract 1.4, 4.4 in the form of data: the first row that fits decides.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: LaunchDarkly wraps the one 403 that is about the segment, not about the token, in these words.
APPROVAL_REQUIRED_MESSAGE = "approval is required"


class Scope(StrEnum):
    """What has to wait: the one segment, or every write of the process."""

    SEGMENT = "segment"
    EVERYTHING = "everything"


class Patience(StrEnum):
    """How soon to try again.

    `TRANSIENT`: it passes by itself; full jitter from `retry.initial_seconds` to
    `retry.max_seconds`. `OPERATOR`: someone has to act; half of `retry.operator_initial_seconds` to
    all of it, doubling up to `retry.operator_max_seconds`.
    """

    TRANSIENT = "transient"
    OPERATOR = "operator"


class RetryReason(StrEnum):
    """Why a batch was not written; label of metrics and key of log lines."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    LEASE = "lease"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    APPROVAL_REQUIRED = "approval_required"
    NOT_FOUND = "not_found"
    NOT_ADOPTED = "not_adopted"
    SEGMENT_MISSING = "segment_missing"
    SEGMENT_DELETED = "segment_deleted"
    SEGMENT_FULL = "segment_full"
    BAD_REQUEST = "bad_request"
    UNEXPECTED = "unexpected"
    VERSION_STORE = "version_store"
    """Not LaunchDarkly's doing: what is newest could not be asked, or was superseded again."""


REJECTED: Final = "bad_request"
"""Why members are rejected: LaunchDarkly refuses them."""

KIND_CONFLICT: Final = "context_kind_conflict"
"""Why members are rejected: their segment has another context kind, and can have one only."""

REJECTIONS: Final = (REJECTED, KIND_CONFLICT)


@dataclass(frozen=True, slots=True)
class Delivered:
    """LaunchDarkly has accepted every change of the batch."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The batch has to be written again, whole.

    Parts of it may be written already; that is harmless, for membership is idempotent.

    Attributes:
        reason: Why.
        detail: For the operator: what happened to what, what ldsync does, what they can do.
        after: Seconds the server asked to wait; 0 if it did not. A lower bound.
        scope: What waits.
        patience: How long it waits, beyond `after`.
        ambiguous_since: Monotonic seconds at which the request began that ended without an answer
            and may still be applied (rule R1); None if nothing can be applied any more.
    """

    reason: RetryReason
    detail: str
    after: float = 0.0
    scope: Scope = Scope.SEGMENT
    patience: Patience = Patience.TRANSIENT
    ambiguous_since: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """LaunchDarkly will not have these members; every other member of the batch was delivered.

    Attributes:
        reason: Slug, a label of metrics.
        members: LaunchDarkly's message for each rejected member.
    """

    reason: str
    members: Mapping[str, str]


Outcome = Delivered | Retry | Rejected


class Verdict(StrEnum):
    """What a writer does about a reply.

    `ACCEPTED`: nothing. `MISSING`: create what it wrote to. `CONFLICT`: send it again at once, a
    few times. `REFUSED`: find out which members it is about. `WAIT`: give the batch back.
    """

    ACCEPTED = "accepted"
    MISSING = "missing"
    CONFLICT = "conflict"
    REFUSED = "refused"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a reply means.

    Attributes:
        verdict: What a writer does about it.
        reason: Why the batch waits, if the writer can do nothing.
        scope: What then waits.
        patience: How long.
        advice: For the operator, if they can do something.
        answered: False if the answer came from something in front of LaunchDarkly that had none
            itself: the request may still be applied (rule R1).
    """

    verdict: Verdict
    reason: RetryReason = RetryReason.UNEXPECTED
    scope: Scope = Scope.SEGMENT
    patience: Patience = Patience.TRANSIENT
    advice: str = ""
    answered: bool = True


@dataclass(frozen=True, slots=True)
class _Row:
    statuses: AbstractSet[int]
    ruling: Ruling
    code: str = ""
    message: str = ""

    def fits(self, status: int, code: str, message: str) -> bool:
        """Whether this row is about such a reply; an empty code or message fits any."""
        return (
            status in self.statuses
            and self.code in ("", code)
            and self.message in message.casefold()
        )


_ACCEPTED = Ruling(Verdict.ACCEPTED)

_UNEXPECTED = Ruling(
    Verdict.WAIT,
    patience=Patience.OPERATOR,
    advice="This is no answer the API documents: check launchdarkly.base_url and what lies between",
)

# 502, 504 and the 52x of content delivery networks: a gateway speaks for a server that did not.
_GATEWAY = frozenset({502, 504, *range(520, 528)})

_TABLE = (
    _Row(
        frozenset({400, 413, 422}),
        Ruling(
            Verdict.REFUSED,
            RetryReason.BAD_REQUEST,
            patience=Patience.OPERATOR,
            advice="It refuses the request as such, or too many members of it, for what it says: "
            "nothing is dropped, and ldsync asks again",
        ),
    ),
    _Row(
        frozenset({401}),
        Ruling(
            Verdict.WAIT,
            RetryReason.UNAUTHORIZED,
            Scope.EVERYTHING,
            Patience.OPERATOR,
            "Check launchdarkly.api_token: it must be a valid access token that may write segments",
        ),
    ),
    _Row(
        frozenset({403}),
        Ruling(
            Verdict.WAIT,
            RetryReason.APPROVAL_REQUIRED,
            patience=Patience.OPERATOR,
            advice="This environment requires approvals for segments: give the token's role the "
            "action bypassRequiredSegmentApproval, or do not require them",
        ),
        message=APPROVAL_REQUIRED_MESSAGE,
    ),
    _Row(
        frozenset({403}),
        Ruling(
            Verdict.WAIT,
            RetryReason.FORBIDDEN,
            # Roles may name single segments: what is forbidden for one says nothing of the others.
            patience=Patience.OPERATOR,
            advice="The token's role must allow createSegment and updateIncluded, and with "
            'launchdarkly.exit_action = "exclude" updateExcluded',
        ),
    ),
    _Row(
        frozenset({404}),
        Ruling(
            Verdict.MISSING,
            RetryReason.NOT_FOUND,
            Scope.EVERYTHING,
            Patience.OPERATOR,
            "Check launchdarkly.project_key and launchdarkly.environment_key, and that the token "
            "may see them",
        ),
    ),
    _Row(
        frozenset({409}),
        Ruling(Verdict.CONFLICT, RetryReason.CONFLICT),
        code="optimistic_locking_error",
    ),
    # Not every 409 is a race: the same status reports duplicates, which no retry can cure.
    _Row(
        frozenset({409}),
        Ruling(Verdict.CONFLICT, RetryReason.CONFLICT, patience=Patience.OPERATOR),
    ),
    _Row(
        frozenset({429}),
        Ruling(Verdict.WAIT, RetryReason.RATE_LIMITED, Scope.EVERYTHING),
    ),
    _Row(_GATEWAY, Ruling(Verdict.WAIT, RetryReason.SERVER_ERROR, answered=False)),
    _Row(
        frozenset({408, *range(500, 600)}),
        Ruling(Verdict.WAIT, RetryReason.SERVER_ERROR),
    ),
)


def classify(status: int, code: str = "", message: str = "") -> Ruling:
    """What a reply means.

    Args:
        status: HTTP status.
        code: `code` of the error body; empty if there was none.
        message: `message` of the error body; empty if there was none.
    """
    if 200 <= status < 300:  # noqa: PLR2004 - the definition of success
        return _ACCEPTED
    for row in _TABLE:
        if row.fits(status, code, message):
            return row.ruling
    return _UNEXPECTED
