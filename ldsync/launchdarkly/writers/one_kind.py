"""Batches for segments that have members of one context kind: big and synced ones.

The decoder refuses what it can know to be of another kind. What comes here nevertheless, because
the segment turned out to have another kind than the first event, is rejected: it can never be
written.
"""

from collections.abc import Awaitable, Callable, Mapping

from ldsync.launchdarkly.outcome import KIND_CONFLICT, Delivered, Outcome, Rejected, Retry
from ldsync.sync.change import Segment

Deliver = Callable[[Mapping[str, str]], Awaitable[Outcome | None]]


async def delivered_of_kind(
    segment: Segment, changes: Mapping[str, str], deliver: Deliver
) -> Outcome | None:
    """Write the changes that the segment can have, and reject the others.

    Args:
        segment: The segment; its context kind is known.
        changes: Stamp by member.
        deliver: Writes changes; returns None if the segment is missing.
    """
    fitting, others = of_kind(segment.context_kind, changes)
    outcome = await deliver(fitting) if fitting else Delivered()
    if not others or outcome is None or isinstance(outcome, Retry):
        return outcome
    if isinstance(outcome, Rejected):
        return Rejected(outcome.reason, {**outcome.members, **others})
    return Rejected(KIND_CONFLICT, others)


def of_kind(kind: str, changes: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Divide changes for a segment of one context kind: those it can have, and why not the others.

    Args:
        kind: That of the segment.
        changes: Stamp by member.
    """
    prefix = f"{kind}/"
    fitting = {member: stamp for member, stamp in changes.items() if member.startswith(prefix)}
    if len(fitting) == len(changes):
        return fitting, {}
    message = f"the segment has members of the context kind {kind} only, and cannot have others"
    return fitting, {member: message for member in changes if member not in fitting}


def fix_kind(segment: Segment, changes: Mapping[str, str]) -> None:
    """Give a segment whose context kind is not known that of its first change."""
    if not segment.context_kind:
        segment.context_kind = next(iter(changes)).partition("/")[0]
