"""History: what records say that are read again, of each member the newest only (R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ldsync.engage.decoder import Several
from ldsync.sync.change import Change, supersedes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ldsync.engage.decoder import Decoder, Record
    from ldsync.sync.change import Segment


def newest(decoder: Decoder, records: Iterable[Record]) -> dict[Segment, dict[str, str]]:
    """Return the newest stamp of every member that the records change, by segment.

    The records are of one partition, in their order: of equal versions the later one counts.
    """
    found: dict[Segment, dict[str, str]] = {}
    read = decoder.read
    for record in records:
        said = read(record.value, record.timestamp)
        if isinstance(said, Change):
            changes: tuple[Change, ...] = (said,)
        elif isinstance(said, Several):
            changes = said.changes
        else:
            continue
        for target, member, stamp in changes:
            known = found.setdefault(target.segment, {})
            if member not in known or supersedes(stamp, known[member]):
                known[member] = stamp
    decoder.forget_fallbacks()
    return found
