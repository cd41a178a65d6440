"""A change: one member in or out of one segment, and the stamp that orders it.

A *stamp* is the change's version followed by its sign: `"+"` for a member that is in, `"-"` for one
that is out. Versions compare as plain strings (`ldsync.engage.times` builds them so), which makes
the newest-wins rule (P2) one string comparison and lets a whole batch be compared by set
operations.
"""

from __future__ import annotations

from typing import NamedTuple, final

IN = "+"
OUT = "-"


class Segment:
    """A LaunchDarkly segment that changes are written to.

    There is one object per segment key and process: segments compare and hash by identity, so that
    a dictionary of segments costs no string hashing on the path of every event.

    `context_kind` is the kind of its members where it can have only one; empty while that is not
    known, and where it may have several. `recreated` says that it was deleted in LaunchDarkly and
    created again while this process ran: who was in it before is not.
    """

    __slots__ = (
        "__weakref__",
        "audience_id",
        "audience_key",
        "context_kind",
        "key",
        "name",
        "recreated",
    )

    def __init__(self, *, key: str, name: str, audience_id: str, audience_key: str) -> None:
        """Name the segment (`key`, `name`) and the audience it was first seen for."""
        self.key = key
        self.name = name
        self.audience_id = audience_id
        self.audience_key = audience_key
        self.context_kind = ""
        self.recreated = False

    def __repr__(self) -> str:
        """Show the key: it is what operators know a segment by."""
        return f"Segment({self.key!r})"


class Target:
    """Where the changes of one audience go: a segment, and the kind of its members.

    `prefix` is `context_kind + "/"`: a member is `prefix + context_key`. Context kinds cannot
    contain a slash, so the first slash of a member ends its kind. `batch_events` False sends each
    change in a request of its own. Compared by identity, as segments are.
    """

    __slots__ = ("audience_key", "batch_events", "context_kind", "prefix", "segment")

    def __init__(
        self,
        segment: Segment,
        *,
        context_kind: str,
        batch_events: bool = True,
        audience_key: str | None = None,
    ) -> None:
        """Direct changes to `segment` as contexts of `context_kind`.

        `audience_key` is given where it is not the one that the segment was first seen for.
        """
        self.segment = segment
        self.audience_key = segment.audience_key if audience_key is None else audience_key
        self.context_kind = context_kind
        self.prefix = f"{context_kind}/"
        self.batch_events = batch_events

    def __repr__(self) -> str:
        """Show segment and kind."""
        return f"Target({self.segment.key!r}, {self.context_kind!r})"


@final
class Change(NamedTuple):
    """One member in or out of one segment.

    A named tuple, not a data class: one is made per event, and it is made twice as fast.
    """

    target: Target
    member: str
    stamp: str


def includes(stamp: str) -> bool:
    """Say whether a change with this stamp puts its member into the segment."""
    return stamp.endswith(IN)


def supersedes(stamp: str, other: str) -> bool:
    """Say whether `stamp`, which arrived later, replaces `other`.

    The higher version wins. Where versions are equal the later arrival wins, whatever its sign:
    only the versions are compared then, not the sign behind them.
    """
    return stamp >= other or stamp[:-1] == other[:-1]
