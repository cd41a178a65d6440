"""The two ways to read an event: what a mapping wants to know of it, whatever the rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ldsync.engage.verdict import NO_CONTEXT_KEY

if TYPE_CHECKING:
    from ldsync.engage.events import Document
    from ldsync.engage.mapping import EmailNormalization, Priority
    from ldsync.engage.paths import Path
    from ldsync.engage.verdict import Verdict

TextReader = Callable[["Document", bytes], "str | Verdict"]
"""Reads a text of an event, given the value of the record as well, or says why there is none."""


class Audience(NamedTuple):
    """The audience that an event is about."""

    id: str
    key: str
    computation_class: str


class KeyCandidate(NamedTuple):
    """A place where the context key may stand.

    `at` returns what stands there, None for nothing. `read` makes a key of it, given the value of
    the record as well: None means that the next candidate is asked, a verdict that none is.
    """

    place: str
    at: Callable[[Document], Any]
    read: Callable[[Document, bytes], str | Verdict | None]


def first_key(candidates: Sequence[KeyCandidate]) -> TextReader:
    """Return what reads the context key: that of the first candidate that has one."""
    readers = [candidate.read for candidate in candidates]

    def read_key(document: Document, value: bytes) -> str | Verdict:
        for read in readers:
            key = read(document, value)
            if key is not None:
                return key
        return NO_CONTEXT_KEY

    return read_key


class Reader(Protocol):
    """Reads events whose fields stand in certain places.

    `value` is always the value of the record, from which numbers are read again where digits were
    lost; or `events.EXACT`.
    """

    def audience(self, document: Document, value: bytes) -> Audience | Verdict:
        """Return the audience, or why there is none."""

    def membership(self, document: Document, audience: Audience) -> bool | Verdict:
        """Return whether the member is in, MEMBERSHIP_MISSING if the event does not say."""

    def flag_objects(self, document: Document) -> Sequence[tuple[str, object]]:
        """Return where the membership flag is looked for, in order, and what stands there."""

    def key_candidates(
        self, wanted: Priority | Path, normalization: EmailNormalization
    ) -> list[KeyCandidate]:
        """Return where the context key may stand, in order."""

    def key_reader(self, wanted: Priority | Path, normalization: EmailNormalization) -> TextReader:
        """Return what reads the context key, NO_CONTEXT_KEY if there is none."""

    def kind_reader(self, path: Path) -> TextReader:
        """Return what reads the context kind, BAD_CONTEXT_KIND if it is none."""
