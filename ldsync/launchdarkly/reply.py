"""What came of one request: a reply, or no answer. Pure; `client` makes them.

Both turn themselves into a `Retry` in words for the operator. Bodies of successful replies stay
bytes until someone asks: a full segment comes back with every write (15,000 targets, 600 KB), and
parsing it costs more than everything else about the request.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from ldsync.launchdarkly.outcome import Patience, Retry, RetryReason, Ruling, Scope, classify
from ldsync.telemetry.redaction import CREDENTIAL, REDACTED

#: Bytes read of a body. A full segment with long keys stays below; the rest is never needed.
MAX_BODY: Final = 16 * 1024 * 1024

#: Bytes of an error body that are parsed: a larger one is nothing that LaunchDarkly says.
MAX_ERROR: Final = 1024 * 1024

# Characters of a text that are looked at.
_MAX_READ: Final = 64 * 1024

_CREDENTIAL: Final = re.compile(CREDENTIAL)

#: Characters kept of what LaunchDarkly says about an error.
MAX_MESSAGE: Final = 300


class Silence(StrEnum):
    """Why there is no answer.

    `GATE` and `LEASE`: the request was not sent, because of the rate limit, or because it is not
    sure that this process is still a member of its group (R4).
    """

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    GATE = "gate"
    LEASE = "lease"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request that got no answer.

    Attributes:
        kind: Why.
        detail: What the operating system or the HTTP client said.
        ambiguous_since: Monotonic seconds at which the request began, if LaunchDarkly may have
            received it and may still apply it (rule R1); None if it certainly has not.
        after: Seconds until the gate opens, for `GATE`.
    """

    kind: Silence
    detail: str
    ambiguous_since: float | None = None
    after: float = 0.0

    def retry(self, doing: str, *, writes_members: bool = False) -> Retry:
        """The outcome, if nothing can be done about it.

        Args:
            doing: What the request was for, as in "creating segment vip-buyers".
            writes_members: Whether it matters that the request may still be applied.
        """
        if self.kind is Silence.GATE:
            return Retry(
                RetryReason.RATE_LIMITED, f"{doing}: {self.detail}", self.after, Scope.EVERYTHING
            )
        if self.kind is Silence.LEASE:
            return Retry(RetryReason.LEASE, f"{doing}: {self.detail}; ldsync asks its group first")
        sent = "was not sent" if self.ambiguous_since is None else "may still be applied"
        return Retry(
            RetryReason(self.kind.value),
            f"{doing}: no answer ({self.detail}); the request {sent}. ldsync tries again",
            ambiguous_since=self.ambiguous_since if writes_members else None,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever it says.

    Attributes:
        status: HTTP status.
        ruling: What it means.
        raw: The body; of replies too large to be read whole, the beginning. Not in the `repr`: it
            may hold SDK keys (P8).
        started: Monotonic seconds at which the request began.
        after: Seconds to wait before trying again, as far as the reply says; else 0.
        message: What an error says in words, shortened, never with the token in it.
        error: Status, code, message and id of an error in one line; empty for success.
    """

    status: int
    ruling: Ruling
    raw: bytes = field(repr=False)
    started: float
    after: float = 0.0
    message: str = ""
    error: str = ""

    def document(self) -> dict[str, Any] | None:
        """The body as a JSON object; None if it is none."""
        return _document(self.raw)

    def retry(self, doing: str, *, writes_members: bool = False) -> Retry:
        """The outcome, if nothing can be done about it.

        Args:
            doing: What the request was for, as in "creating segment vip-buyers".
            writes_members: Whether it matters that the request may still be applied.
        """
        ruling = self.ruling
        waits = "every write waits" if ruling.scope is Scope.EVERYTHING else "the segment waits"
        advice = f". {ruling.advice}" if ruling.advice else ""
        return Retry(
            ruling.reason,
            f"{doing}: LaunchDarkly answered {self.error or self.status}; {waits}{advice}",
            self.after,
            ruling.scope,
            ruling.patience,
            self.started if writes_members and not ruling.answered else None,
        )

    def implausible(self, doing: str, finding: str, *, writes_members: bool = False) -> Retry:
        """The outcome of a reply that claims success but does not show it.

        Args:
            doing: As above.
            finding: What is wrong with the reply.
            writes_members: As above.
        """
        return Retry(
            RetryReason.UNEXPECTED,
            f"{doing}: the answer was {self.status}, but {finding}; the segment waits. Check "
            "launchdarkly.base_url and what lies between",
            patience=Patience.OPERATOR,
            ambiguous_since=self.started if writes_members else None,
        )


Answer = Reply | NoAnswer


def read_reply(
    status: int,
    raw: bytes,
    *,
    content_type: str,
    secrets: Sequence[str],
    started: float,
    after: float,
) -> Reply:
    """Read what an answer says. Tolerates error bodies without code or id, empty, or not JSON.

    Args:
        status: HTTP status.
        raw: The body.
        content_type: Header of that name, to describe a body that is not JSON.
        secrets: Tokens; taken out of messages that repeat them.
        started: Monotonic seconds at which the request began.
        after: Seconds the reply asks to wait; 0 if it does not.
    """
    reply = Reply(status, classify(status), raw, started, after)
    if 200 <= status < 300:  # noqa: PLR2004 - the definition of success
        return reply
    body = (_document(raw) if len(raw) <= MAX_ERROR else None) or {}
    code, message, error_id = (_text(body.get(name), secrets) for name in ("code", "message", "id"))
    words = [str(status), code]
    if message:
        words.append(f"({message})")
    elif not body:
        kind = content_type.partition(";")[0].strip()[:60] or "no type"
        words.append(f"(no JSON: {len(raw)} bytes of {kind})" if raw else "(empty body)")
    if error_id:
        words.append(f"[error id {error_id}]")
    return replace(
        reply,
        ruling=classify(status, code, message),
        message=message or code or f"status {status}",
        error=" ".join(word for word in words if word),
    )


def _document(raw: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _text(value: object, secrets: Sequence[str]) -> str:
    """A field of an error body as one short line."""
    if not isinstance(value, str | int):
        return ""
    text = str(value)[:_MAX_READ]
    # Before anything is cut off: half a token would not be recognised.
    for secret in filter(None, secrets):
        text = text.replace(secret, REDACTED)
    text = _CREDENTIAL.sub(REDACTED, text)
    text = re.sub(r"\s+", " ", text[: 4 * MAX_MESSAGE]).strip()
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
