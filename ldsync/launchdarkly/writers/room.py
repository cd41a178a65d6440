"""How many individual targets standard segments hold, as far as their last replies say. Pure.

LaunchDarkly allows 15,000 in a segment (launchdarkly-api contract 4.3), and what it answers to more
is not documented: ldsync must know before. Every reply shows all targets, up to a megabyte of them.
To count the quotation marks of that takes a tenth of a millisecond and gives a bound: every target
is one text. Only near the limit the reply is parsed, which takes some thirty times as long.
"""

from typing import Any, Final
from weakref import WeakKeyDictionary

from ldsync.launchdarkly.reply import MAX_BODY, Reply
from ldsync.sync.change import Segment

#: Individual targets a standard segment may hold, included and excluded.
MAX_TARGETS: Final = 15_000

# Where the bound is not enough any more: a full patch away from the limit.
_NEAR = MAX_TARGETS - 1_500


class Room:
    """The last known number of targets, or a bound of it, per segment."""

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[Segment, int] = WeakKeyDictionary()

    def note(self, segment: Segment, reply: Reply) -> None:
        """Take up what a reply shows of a segment."""
        if len(reply.raw) > MAX_BODY:  # cut short: a bound of nothing
            self._held.pop(segment, None)
            return
        held = reply.raw.count(b'"') // 2
        if held > _NEAR:
            held = held_by(reply.document() or {})
        self._held[segment] = held

    def note_document(self, segment: Segment, document: dict[str, Any]) -> None:
        """Take up what a segment looks like."""
        self._held[segment] = held_by(document)

    def may_lack(self, segment: Segment, adds: int) -> bool:
        """Whether so many more targets might be too many; False if nothing is known."""
        return self._held.get(segment, 0) + adds > MAX_TARGETS


def held_by(document: dict[str, Any]) -> int:
    """Individual targets of a segment as LaunchDarkly shows it."""
    return len(members_of(document, "included")) + len(members_of(document, "excluded"))


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
