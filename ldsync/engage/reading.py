"""The two ways to read an event: what a mapping wants to know of it, whatever the rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

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


class Reader(Protocol):
    """Reads events whose fields stand in certain places.

    `value` is always the value of the record, from which numbers are read again where digits were
    lost; or `events.EXACT`.
    """

    def audience(self, document: Document, value: bytes) -> Audience | Verdict:
        """Return the audience, or why there is none."""

    def membership(self, document: Document, audience: Audience) -> bool | Verdict:
        """Return whether the member is in, MEMBERSHIP_MISSING if the event does not say."""

    def key_reader(self, wanted: Priority | Path, normalization: EmailNormalization) -> TextReader:
        """Return what reads the context key, NO_CONTEXT_KEY if there is none."""

    def kind_reader(self, path: Path) -> TextReader:
        """Return what reads the context kind, BAD_CONTEXT_KIND if it is none."""
